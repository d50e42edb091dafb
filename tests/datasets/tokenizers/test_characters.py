import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.tokenizers import ByteTokenizer, CharacterTokenizer


@given(st.text())
def test_bytes_decode_to_the_text_that_was_encoded(text: str) -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer(text)["text"]
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text.encode()) + 2


@given(st.text(alphabet="ab c"))
def test_characters_decode_to_the_text_that_was_encoded(text: str) -> None:
    tokenizer = CharacterTokenizer(alphabet="ab c")
    assert tokenizer.decode(tokenizer(text)["text"]) == text


def test_padding_disappears_when_decoding() -> None:
    tokenizer = ByteTokenizer(max_length=20, padding="max_length")
    assert tokenizer.decode(tokenizer("hé")["text"]) == "hé"


def test_half_a_character_at_the_cut_is_dropped_when_decoding() -> None:
    tokenizer = ByteTokenizer(max_length=4)
    assert tokenizer.decode(tokenizer("aé")["text"]) == "a"


def test_a_lone_surrogate_is_encoded_like_any_other_character() -> None:
    assert len(ByteTokenizer()("\ud800")["text"]) == 5


def test_a_character_outside_the_alphabet_is_unknown() -> None:
    tokenizer = CharacterTokenizer(alphabet="ab")
    assert tokenizer("aéb")["text"].tolist() == [tokenizer.bos_id, 5, tokenizer.unknown_id, 6, tokenizer.eos_id]


def test_lower_casing_happens_before_the_look_up() -> None:
    assert CharacterTokenizer(alphabet="ab", lowercase=True)("AB")["text"].tolist() == [1, 5, 6, 2]


def test_ids_lie_within_the_vocabulary_and_special_ids_never_stand_for_text() -> None:
    for tokenizer in (CharacterTokenizer(), ByteTokenizer()):
        body = tokenizer("the quick brown fox, 42!")["text"][1:-1]
        assert int(body.max()) < tokenizer.vocab_size
        assert not set(body.tolist()) & set(tokenizer.special_ids)


def test_an_alphabet_with_repeated_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="each character once, but 'al' occur more often"):
        CharacterTokenizer(alphabet="alphal")


def test_a_tokenizer_travels_to_worker_processes() -> None:
    tokenizer = pickle.loads(pickle.dumps(CharacterTokenizer(alphabet="ab")))
    assert tokenizer("ba")["text"].tolist() == [1, 6, 5, 2]
