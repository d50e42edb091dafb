import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkit.modules.encoders import TextTransformer


SIZE = {"vocab_size": 11, "max_length": 8, "width": 8, "depth": 2, "num_heads": 2}
EOS = 10


def encode(encoder: TextTransformer, token_ids: list | Tensor, mask: list | Tensor | None = None) -> Tensor:
    inputs = {"text": torch.as_tensor(token_ids)}
    if mask is not None:
        inputs["text_attention_mask"] = torch.as_tensor(mask)
    return encoder.double().eval()(inputs)[0]


@pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
@pytest.mark.parametrize("pooling", ["mean", "last", "eos", "cls"])
@settings(max_examples=20)
@given(length=st.integers(1, 5), padding=st.integers(1, 3), seed=st.integers(0, 99))
def test_padding_does_not_change_an_embedding(pooling: str, causal: bool, length: int, padding: int, seed: int) -> None:
    if causal and pooling == "cls":
        return
    encoder = TextTransformer(**SIZE, pooling=pooling, causal=causal, eos_token_id=EOS)
    text = torch.randint(0, EOS + 1, (2, length), generator=torch.Generator().manual_seed(seed))
    padded = torch.cat([text, torch.zeros(2, padding, dtype=torch.long)], dim=1)
    mask = torch.arange(length + padding).expand(2, -1) < length
    assert torch.allclose(encode(encoder, padded, mask.long()), encode(encoder, text))


def test_the_order_of_a_batch_is_the_order_of_its_embeddings() -> None:
    encoder, text = TextTransformer(**SIZE), torch.randint(0, 11, (5, 6))
    mask, order = torch.arange(6) < torch.tensor([[6], [1], [3], [2], [5]]), torch.tensor([3, 1, 4, 0, 2])
    assert torch.allclose(encode(encoder, text, mask)[order], encode(encoder, text[order], mask[order]))


def test_a_causal_token_ignores_the_future_and_sees_the_past() -> None:
    encoder = TextTransformer(**SIZE, causal=True, pooling="none")
    first, second = encode(encoder, [[1, 2, 3, 4]]), encode(encoder, [[1, 2, 7, 4]])
    assert torch.allclose(first[:, :2], second[:, :2])
    assert not torch.allclose(first[:, 3], second[:, 3])


def test_a_bidirectional_token_sees_the_future() -> None:
    encoder = TextTransformer(**SIZE, pooling="none")
    assert not torch.allclose(encode(encoder, [[1, 2, 3]])[:, 0], encode(encoder, [[1, 2, 4]])[:, 0])


def test_the_same_words_in_another_order_differ() -> None:
    encoder = TextTransformer(**SIZE)
    assert not torch.allclose(encode(encoder, [[1, 2, 3]]), encode(encoder, [[3, 2, 1]]))


def test_a_mask_without_modality_name_is_read_too() -> None:
    encoder = TextTransformer(**SIZE).eval()
    text, mask = torch.tensor([[1, 2, 0]]), torch.tensor([[1, 1, 0]])
    expected = encoder({"text": text, "text_attention_mask": mask})[0]
    assert torch.equal(encoder({"text": text, "attention_mask": mask})[0], expected)


def test_pooling_none_gives_every_token() -> None:
    assert encode(TextTransformer(**SIZE, pooling="none"), [[1, 2, 3], [4, 5, 6]]).shape == (2, 3, 8)


def test_depth_zero_is_the_embeddings_alone() -> None:
    encoder = TextTransformer(**{**SIZE, "depth": 0}, pooling="none")
    expected = encoder.norm(encoder.token_embedding.weight[[1, 2]] + encoder.position_embedding[:2])
    assert torch.allclose(encoder({"text": torch.tensor([[1, 2]])})[0][0], expected)


def test_an_empty_text_gives_finite_numbers() -> None:
    assert encode(TextTransformer(**SIZE), [[1, 2], [0, 0]], [[1, 1], [0, 0]]).isfinite().all()


def test_every_parameter_gets_a_gradient() -> None:
    encoder = TextTransformer(**SIZE)
    encoder({"text": torch.randint(0, 11, (3, 8))})[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_a_text_beyond_the_maximum_names_both_lengths() -> None:
    with pytest.raises(ValueError, match=r"text of 9 tokens is longer than the 8 that TextTransformer takes.*max_length=8"):
        encode(TextTransformer(**SIZE), torch.zeros(1, 9, dtype=torch.long))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "avg"}, "Unknown pooling 'avg'. Allowed: cls, mean, last, none, eos"),
        ({"pooling": "eos"}, "needs eos_token_id"),
        ({"pooling": "cls", "causal": True}, "the first token sees no other. Use 'last', 'eos' or 'mean'"),
        ({"num_heads": 3}, "num_heads=3 must divide the embedding size 8"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextTransformer(**{**SIZE, **arguments})
