import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.datasets.text.opening import Format, open_documents
from mmkit.datasets.text.token_limit import TokenLimit
from mmkit.datasets.tokenizers.characters import ByteTokenizer, CharacterTokenizer
from mmkit.errors import UsageError
from tests.datasets.text.tiny_tokenizers import Pairs, Words


TOKENIZERS = [ByteTokenizer(), CharacterTokenizer(), Words(), Pairs()]
texts = st.lists(st.sampled_from(["a", "word", " ", "\n", "é", "你", "👩\u200d🔬", "e\u0301", "  ", "x" * 30])).map("".join)


def pieces_of(text, cuts):
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: type(tokenizer).__name__)
@settings(max_examples=60)
@given(text=texts, max_tokens=st.integers(8, 40))
def test_every_piece_keeps_to_the_limit_and_together_they_are_the_text(tokenizer, text, max_tokens):
    limit = TokenLimit(max_tokens, tokenizer)
    pieces = pieces_of(text, limit.cuts(text))
    assert "".join(pieces) == text
    assert all(pieces) or not text
    assert max(len(ids) for ids in tokenizer.encode(pieces, None)) <= max_tokens


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: type(tokenizer).__name__)
def test_pieces_are_well_filled_and_break_before_spaces(tokenizer):
    text = " ".join(f"word{i}" for i in range(2000))
    limit = TokenLimit(64, tokenizer)
    pieces = pieces_of(text, limit.cuts(text))
    assert sum(len(ids) for ids in tokenizer.encode(pieces, None)) >= 0.75 * 64 * len(pieces)
    assert all(piece.startswith(" ") for piece in pieces[1:])


def test_tokens_of_pieces_are_those_of_the_text_where_words_are_tokenized_apart():
    text = "some words of a text that is longer " * 20
    pieces = pieces_of(text, TokenLimit(16, Words()).cuts(text))
    assert [token for ids in Words().encode(pieces, None) for token in ids] == Words().encode([text], None)[0]


def test_a_character_is_not_separated_from_its_accents():
    text = "e\u0301" * 50
    assert all(piece.startswith("e") for piece in pieces_of(text, TokenLimit(12, CharacterTokenizer()).cuts(text)))


def test_few_tokenizations_are_needed():
    class Counting(Words):
        num = 0

        def encode(self, texts, max_length):
            self.num += len(texts)
            return super().encode(texts, max_length)

    tokenizer = Counting()
    text = " ".join(["abcde"] * 10_000)
    cuts = TokenLimit(100, tokenizer).cuts(text)
    assert tokenizer.num < 2 * len(cuts)


def test_the_first_piece_alone_is_the_first_of_all():
    text = "some words of a text that is longer " * 20
    assert TokenLimit(16, Words()).cuts(text, whole=False) == TokenLimit(16, Words()).cuts(text)[:1]


@pytest.mark.parametrize("text", ["short\nlong " + "x" * 60 + "\nshort", "é" * 30 + "\nﷺ\n" + "é" * 20])
def test_all_lines_that_are_too_long_are_suspects(tmp_path, text):
    (tmp_path / "text.txt").write_text(text)
    documents = open_documents(tmp_path / "text.txt", Format(), None)
    limit = TokenLimit(40, ByteTokenizer())
    suspects = set(limit.suspects(documents).tolist())
    assert {i for i in range(len(documents)) if limit.count(documents.text(i)) > 40} <= suspects
    assert len(suspects) < len(documents)


def test_a_character_that_grows_when_it_is_normalised_is_a_suspect(tmp_path):
    (tmp_path / "text.txt").write_text("ﷺ\nabc\n")  # one character, 3 bytes, that is 18 characters, 33 bytes
    documents = open_documents(tmp_path / "text.txt", Format(), None)
    assert TokenLimit(30, ByteTokenizer()).suspects(documents).tolist() == [0]


def test_limits_without_room_are_refused():
    with pytest.raises(UsageError, match=r"seq_length=2 leaves no room beside the 2 special tokens of a text."):
        TokenLimit(2, ByteTokenizer())
    with pytest.raises(UsageError, match=r"seq_length=4 does not hold the character '你', which has 5 tokens."):
        TokenLimit(4, ByteTokenizer()).cuts("a你b")
