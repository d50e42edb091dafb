import pytest
import torch

from mmkit.modules.encoders import IdentityEncoder


def test_features_are_handed_on() -> None:
    features = torch.randn(2, 5)
    assert IdentityEncoder("text")({"text": features})[0] is features


def test_an_absent_modality_is_named_with_what_is_there() -> None:
    with pytest.raises(ValueError, match="reads 'rgb', but the batch has: text, text_attention_mask"):
        IdentityEncoder()({"text": torch.zeros(1), "text_attention_mask": torch.zeros(1)})


def test_text_without_a_tokenizer_says_what_to_add() -> None:
    with pytest.raises(TypeError, match=r"'text' as a tensor, got list. Add .* dataloader.<stage>.collate_fn"):
        IdentityEncoder("text")({"text": ["a dog"]})  # type: ignore[dict-item]


def test_an_unknown_modality_is_an_error() -> None:
    with pytest.raises(ValueError, match="Unknown modality 'image'"):
        IdentityEncoder("image")
