import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.core import DefaultDataCollator, Example
from mmkit.datasets.tokenizers import ByteTokenizer, CharacterTokenizer, TextTokenizer
from mmkit.datasets.tokenizers.base import pad_token_ids


TOKENIZERS = [pytest.param(CharacterTokenizer, id="characters"), pytest.param(ByteTokenizer, id="bytes")]


@given(st.lists(st.lists(st.integers(1, 99), max_size=6), max_size=5), st.integers(6, 9))
def test_padding_matches_a_loop(token_ids: list[list[int]], length: int) -> None:
    ids, mask = pad_token_ids(token_ids, pad_id=0, length=length)
    assert ids.tolist() == [[*row, *[0] * (length - len(row))] for row in token_ids]
    assert mask.tolist() == [[1] * len(row) + [0] * (length - len(row)) for row in token_ids]
    assert ids.shape == mask.shape == (len(token_ids), length)
    assert ids.dtype == mask.dtype == torch.long


@pytest.mark.parametrize("make", TOKENIZERS)
def test_a_batch_is_padded_to_its_longest_text_not_to_the_maximum(make: type[TextTokenizer]) -> None:
    tokens = make(max_length=77)(["a", "abc"])
    assert tokens["text"].shape == tokens["text_attention_mask"].shape == (2, 5)


@pytest.mark.parametrize("make", TOKENIZERS)
def test_a_batch_is_padded_to_the_maximum_when_asked(make: type[TextTokenizer]) -> None:
    tokens = make(max_length=9, padding="max_length")(["a", "abc"])
    assert tokens["text"].shape == (2, 9)
    assert tokens["text_attention_mask"].sum(1).tolist() == [3, 5]


@pytest.mark.parametrize("make", TOKENIZERS)
def test_one_string_gives_the_same_ids_without_a_batch_dimension(make: type[TextTokenizer]) -> None:
    one, batch = make()("a cat"), make()(["a cat"])
    assert one.keys() == batch.keys()
    for key in one:
        assert torch.equal(one[key], batch[key][0])


@pytest.mark.parametrize("make", TOKENIZERS)
@given(text=st.text(max_size=12), max_length=st.integers(2, 6))
def test_a_truncated_text_keeps_its_begin_and_end_tokens(make: type[TextTokenizer], text: str, max_length: int) -> None:
    whole = make()(text)["text"].tolist()
    cut = make(max_length=max_length)(text)["text"].tolist()
    assert len(cut) == min(len(whole), max_length)
    assert cut == [*whole[: len(cut) - 1], whole[-1]]


@pytest.mark.parametrize("make", TOKENIZERS)
def test_a_text_that_is_too_long_is_named_when_it_may_not_be_truncated(make: type[TextTokenizer]) -> None:
    tokenizer = make(max_length=5, truncation=False)
    assert tokenizer(["abc"])["text"].shape == (1, 5)
    with pytest.raises(ValueError, match=r"Text 1 of 2 has 6 tokens, but max_length is 5.*truncation=True"):
        tokenizer(["abc", "abcd"])


def test_what_is_not_a_string_is_named_by_its_index() -> None:
    with pytest.raises(TypeError, match="ByteTokenizer takes strings, but text 2 of 3 is None"):
        ByteTokenizer()(["a", "b", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="text 0 of 1 is of type int"):
        ByteTokenizer()([3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="takes a string or a list of strings, got NoneType"):
        ByteTokenizer()(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"padding": "left"}, "Unknown padding 'left'. Choose one of: longest, max_length", id="unknown padding"),
        pytest.param({"padding": "max_length"}, "padding='max_length' needs a `max_length`", id="no maximum"),
        pytest.param({"max_length": 1}, "max_length=1 leaves no room for the 2 special tokens", id="no room"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ByteTokenizer(**arguments)


def test_an_empty_batch_and_an_empty_text_are_no_error() -> None:
    assert ByteTokenizer()([])["text"].shape == (0, 0)
    assert ByteTokenizer()("")["text"].tolist() == [1, 2]


def test_a_tokenizer_works_as_batch_processor_under_the_name_of_its_modality() -> None:
    examples = [Example(dataset_index=0, example_index=i, audio=text) for i, text in enumerate(["a", "abc"])]
    batch = DefaultDataCollator({"audio": ByteTokenizer(modality="audio")})(examples)
    assert batch["audio"].shape == batch["audio_attention_mask"].shape == (2, 5)
    assert batch["example_ids"]["audio_attention_mask"].tolist() == [[0, 0], [0, 1]]
