"""What is decoded: the ids themselves, or what a denoiser has put beside them."""

import pytest
import torch

from mmkit.datasets.tokenizers import ByteTokenizer, CharacterTokenizer
from mmkit.tasks.encoder_decoder_targets import begins_texts, target_of


TEXTS = ["ab", "", "a"]


def test_targets_are_the_texts_without_begin_with_end_without_padding():
    tokenizer = CharacterTokenizer(alphabet="ab")
    labels = target_of(tokenizer(TEXTS), "text", begins_texts(tokenizer))
    expected = [list(ids[1:]) for ids in tokenizer.encode(TEXTS, None)]  # one by one, in Python
    assert [[int(token) for token in row if token != -100] for row in labels] == expected
    assert labels.shape == (3, 3)


def test_a_tokenizer_without_begin_loses_no_token():
    class Bare(ByteTokenizer):
        def encode(self, texts, max_length):
            return [ids[1:] for ids in super().encode(texts, max_length)]

    assert not begins_texts(Bare())
    assert target_of(Bare()(["a"]), "text", begins=False).tolist() == [[4 + 97, 2]]
    assert begins_texts(ByteTokenizer())
    assert begins_texts(None)


def test_the_target_of_a_denoiser_is_taken_as_it_is():
    labels = torch.tensor([[5, 6, 2], [5, 2, -100]])
    batch = {**ByteTokenizer()(["x", "y"]), "text_target": labels}
    assert target_of(batch, "text") is labels


@pytest.mark.parametrize(
    ("batch", "kind", "message"),
    [
        pytest.param({"rgb": torch.zeros(1)}, ValueError, "neither 'text' nor 'text_target', but rgb", id="absent"),
        pytest.param({"text": ["a"]}, TypeError, "batch_processors.text", id="strings"),
        pytest.param({"text_target": torch.zeros(3).long()}, ValueError, r"ids \(batch, tokens\).*Got \(3,\)", id="class"),
        pytest.param({"text_target": torch.zeros(3, 2)}, ValueError, "of torch.float32", id="floats"),
    ],
)
def test_what_cannot_be_decoded_is_told(batch, kind, message):
    with pytest.raises(kind, match=message):
        target_of(batch, "text")
