from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mmkit.datasets.tokenizers import ByteTokenizer, CharacterTokenizer, HFTokenizer, TextTokenizer


TEXTS = ["the cat sat on the mat.", "a dog's unbelievable house, isn't it", "the the house"]


def written(tokenizer: TextTokenizer, text: str) -> list[str]:
    """The words of a text: what is decoded of the tokens from one start to the next."""
    ids = tokenizer(text)["text"]
    starts = tokenizer.word_starts(ids)
    special = torch.isin(ids, torch.tensor([i for i in tokenizer.special_ids if i != tokenizer.unknown_id]))
    assert not starts[special].any()
    ids, starts = ids[~special], starts[~special]
    bounds = [*starts.nonzero().flatten().tolist(), len(ids)]
    return [tokenizer.decode(ids[start:end]).strip() for start, end in pairwise(bounds)]


def hugging_face(folder: Path, kind: str) -> HFTokenizer:
    """A tokenizer of Hugging Face's library, trained on a few words."""
    library = pytest.importorskip("tokenizers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    parts = library.pre_tokenizers, library.decoders
    model, trainer, split, decoder = {
        "wordpiece": lambda pre, dec: (
            library.models.WordPiece(unk_token="[UNK]"),
            library.trainers.WordPieceTrainer(vocab_size=60, special_tokens=special),
            pre.BertPreTokenizer(),
            dec.WordPiece(),
        ),
        "byte-level": lambda pre, dec: (
            library.models.BPE(),
            library.trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=pre.ByteLevel.alphabet()),
            pre.ByteLevel(add_prefix_space=False),
            dec.ByteLevel(),
        ),
        "metaspace": lambda pre, dec: (
            library.models.Unigram(),
            library.trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="[UNK]"),
            pre.Metaspace(),
            dec.Metaspace(),
        ),
        "suffix": lambda pre, dec: (
            library.models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"),
            library.trainers.BpeTrainer(vocab_size=60, special_tokens=special, end_of_word_suffix="</w>"),
            pre.WhitespaceSplit(),
            dec.BPEDecoder(),
        ),
        "unmarked": lambda pre, dec: (
            library.models.BPE(unk_token="[UNK]"),
            library.trainers.BpeTrainer(vocab_size=60, special_tokens=special),
            pre.WhitespaceSplit(),
            dec.BPEDecoder(),
        ),
    }[kind](*parts)
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoder
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return HFTokenizer(str(folder))


@pytest.mark.parametrize("text", [*TEXTS, " the  cat ", "x"])
@pytest.mark.parametrize("make", [ByteTokenizer, CharacterTokenizer], ids=["bytes", "characters"])
def test_words_of_bytes_and_characters_are_divided_by_white_space(make: type[TextTokenizer], text: str) -> None:
    words = written(make(), text)
    assert [word for word in words if word] == text.split()


def test_white_space_belongs_to_the_word_behind() -> None:
    tokenizer = ByteTokenizer()
    starts = tokenizer.word_starts(tokenizer("ab  cé\nd ")["text"])
    assert starts.int().tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["byte-level", "metaspace", "suffix"])
def test_words_of_subwords_are_divided_by_white_space(tmp_path: Path, kind: str, text: str) -> None:
    tokenizer = hugging_face(tmp_path, kind)
    assert written(tokenizer, text) == text.split()
    assert int((tokenizer(TEXTS[1])["text"] >= 5).sum()) > len(TEXTS[1].split())  # some word has several tokens


@pytest.mark.parametrize("text", TEXTS)
def test_words_of_wordpieces_are_those_of_its_own_splitting(tmp_path: Path, text: str) -> None:
    tokenizer = hugging_face(tmp_path, "wordpiece")
    own = [word for word, _ in tokenizer.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert written(tokenizer, text) == own


def test_words_do_not_cross_special_tokens_but_the_unknown_one_is_text(tmp_path: Path) -> None:
    tokenizer = hugging_face(tmp_path, "metaspace")
    cat = tokenizer("cat")["text"][1:-1].tolist()
    ids = torch.tensor([[2, *cat, 3, cat[-1], 1, cat[-1], 3, 0]])
    starts = tokenizer.word_starts(ids)[0].int().tolist()
    assert starts == [0, 1, *[0] * (len(cat) - 1), 0, 1, 0, 0, 0, 0]


def test_ids_behind_the_vocabulary_are_apart() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.word_starts(torch.tensor([[260, 101, 400, 101]])).int().tolist() == [[0, 1, 0, 1]]


def test_pieces_that_tell_no_words_are_refused(tmp_path: Path) -> None:
    tokenizer = hugging_face(tmp_path, "unmarked")
    with pytest.raises(ValueError, match="do not tell where words begin"):
        tokenizer.word_starts(torch.tensor([5]))


def test_a_sentence_ends_with_its_mark_whatever_closes_it() -> None:
    tokenizer = CharacterTokenizer()
    assert {tokenizer.pieces()[index] for index in tokenizer.sentence_end_ids} == {".", "!", "?"}


def test_batches_and_empty_ones() -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer(["a b", "", "c"])["text"]
    assert torch.equal(tokenizer.word_starts(ids), torch.stack([tokenizer.word_starts(row) for row in ids]))
    assert tokenizer.word_starts(torch.zeros(2, 0, dtype=torch.long)).shape == (2, 0)
