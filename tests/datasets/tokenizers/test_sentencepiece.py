import copy
import inspect
import io
import json
import multiprocessing
import pickle
import unicodedata
from pathlib import Path

import pytest
import torch

from mmkit.datasets.tokenizers import SentencePieceTokenizer, train_sentencepiece


sentencepiece = pytest.importorskip("sentencepiece")
SIZE = 300


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Docstrings of the standard library, one a line."""
    modules = (json, inspect, pickle, multiprocessing, copy)
    texts = (doc for module in modules for thing in vars(module).values() if (doc := getattr(thing, "__doc__", None)))
    path = tmp_path_factory.mktemp("corpus") / "docstrings.txt"
    path.write_text("\n".join(sorted({" ".join(text.split()) for text in texts})))
    return str(path)


@pytest.fixture(scope="module")
def model(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return train_sentencepiece(corpus, SIZE, cache_dir=str(tmp_path_factory.mktemp("cache")))


def model_with(folder: Path, corpus: str, **settings: object) -> str:
    """A model trained by sentencepiece itself, e.g. one that lacks special ids."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(input=corpus, model_writer=written, vocab_size=SIZE, minloglevel=2, **settings)
    (folder / "foreign.model").write_bytes(written.getvalue())
    return str(folder / "foreign.model")


def test_ids_are_those_of_sentencepiece_between_begin_and_end(model: str) -> None:
    texts = ["Return the object.", "", "a dictionary"]
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    tokenizer = SentencePieceTokenizer(model)
    tokens = tokenizer(texts)
    expected = [[1, *processor.encode(text), 2] for text in texts]
    assert [row[mask.bool()].tolist() for row, mask in zip(*tokens.values(), strict=True)] == expected
    assert [tokenizer.decode(row) for row in tokens["text"]] == texts


def test_a_trained_vocabulary_has_all_special_tokens_first(model: str) -> None:
    tokenizer = SentencePieceTokenizer(model)
    ids = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unknown_id, tokenizer.mask_id)
    assert ids == (0, 1, 2, 3, 4) == tokenizer.special_ids
    assert tokenizer.vocab_size == SIZE
    assert tokenizer.pieces()[:5] == ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]


def test_special_tokens_that_a_model_lacks_get_ids_behind_it(corpus: str, tmp_path: Path) -> None:
    lacking = model_with(tmp_path, corpus, bos_id=-1, pad_id=-1, eos_id=1, unk_id=0)
    tokenizer = SentencePieceTokenizer(lacking)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id) == (SIZE, SIZE + 1, 1, SIZE + 2)
    assert tokenizer.vocab_size == SIZE + 3
    tokens = tokenizer(["Return it", "Return"])["text"]
    assert tokens[1, 0] == SIZE + 1
    assert tokens[1, -1] == SIZE
    assert tokenizer.decode(tokens[0]) == "Return it"
    assert tokenizer.decode([*tokens[0].tolist(), SIZE + 50]) == "Return it"


def test_special_tokens_are_found_by_their_names(corpus: str, tmp_path: Path) -> None:
    named = model_with(tmp_path, corpus, user_defined_symbols=["[MASK]", "[PAD]"])
    tokenizer = SentencePieceTokenizer(named)
    pieces = tokenizer.pieces()
    assert (pieces[tokenizer.mask_id], pieces[tokenizer.pad_id], tokenizer.vocab_size) == ("[MASK]", "[PAD]", SIZE)


def test_truncation_keeps_the_end_and_both_ends_can_be_left_out(model: str) -> None:
    whole = SentencePieceTokenizer(model)("Return the object.")["text"].tolist()
    assert SentencePieceTokenizer(model, max_length=4)("Return the object.")["text"].tolist() == [*whole[:3], 2]
    assert SentencePieceTokenizer(model, max_length=4, add_bos=False)("Return the object.")["text"].tolist() == [*whole[1:4], 2]
    assert SentencePieceTokenizer(model, add_bos=False, add_eos=False)("Return the object.")["text"].tolist() == whole[1:-1]


@pytest.mark.parametrize("suffix", [False, True], ids=["white space before", "white space behind"])
def test_words_begin_where_white_space_does(corpus: str, tmp_path: Path, suffix: bool) -> None:
    settings = {"treat_whitespace_as_suffix": suffix, "pad_id": 3, "add_dummy_prefix": False}
    tokenizer = SentencePieceTokenizer(model_with(tmp_path, corpus, **settings))
    text = "Return the object ütf, unserialized."
    tokens = tokenizer([text, "a b", ""])
    starts = tokenizer.word_starts(tokens["text"])
    assert starts.sum(-1).tolist() == [5, 2, 0]
    pieces = [tokenizer.pieces()[token] for token in tokens["text"][0].tolist()]
    written = "".join(("|" if start else "") + piece for piece, start in zip(pieces, starts[0].tolist(), strict=True))
    words = [word.replace("▁", "") for word in written.removeprefix("<s>").replace("</s>", "").split("|")[1:]]
    assert words == ["Return", "the", "object", "<unk>tf,", "unserialized."]


def test_bytes_that_the_pieces_cannot_write_continue_a_word(corpus: str, tmp_path: Path) -> None:
    settings = {"byte_fallback": True, "normalization_rule_name": "identity", "vocab_size": 500}
    tokenizer = SentencePieceTokenizer(train_sentencepiece(corpus, **settings_of(settings), cache_dir=str(tmp_path)))
    text = "a 世界\nb"
    tokens = tokenizer(text)["text"]
    assert tokenizer.decode(tokens) == text
    assert tokenizer.word_starts(tokens).sum() == 3  # "a", " 世界" and "\nb"
    assert not set(tokenizer.special_ids) & set(tokens[1:-1].tolist())


def settings_of(settings: dict) -> dict:
    return {"vocab_size": settings.pop("vocab_size"), "settings": settings}


def test_sentences_end_with_their_marks(model: str) -> None:
    tokenizer = SentencePieceTokenizer(model)
    pieces = tokenizer.pieces()
    ends = {pieces[index] for index in tokenizer.sentence_end_ids}
    assert "." in ends
    assert all(any(unicodedata.category(letter) == "Po" for letter in piece) for piece in ends)


def test_it_travels_to_worker_processes_and_is_copied(model: str) -> None:
    tokenizer = SentencePieceTokenizer(model)
    expected = tokenizer("Return")["text"].tolist()
    assert pickle.loads(pickle.dumps(tokenizer))("Return")["text"].tolist() == expected
    assert copy.deepcopy(tokenizer)("Return")["text"].tolist() == expected
    assert torch.equal(pickle.loads(pickle.dumps(tokenizer)).word_starts(torch.tensor([1, 5])), torch.tensor([False, True]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({}, "either a `model` file or `train_on`.*neither is given", id="nothing"),
        pytest.param({"model": "a", "train_on": "b"}, "both are given", id="both"),
        pytest.param({"model": "a", "vocab_size": 9}, "vocab_size is for training; the model 'a' is trained", id="trained"),
        pytest.param({"train_on": "a"}, "training needs a `vocab_size`", id="size"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SentencePieceTokenizer(**arguments)


def test_a_file_that_is_no_model_is_refused(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"docstrings\.txt' is no SentencePiece model"):
        SentencePieceTokenizer(corpus)
    with pytest.raises(FileNotFoundError, match="There is no SentencePiece model"):
        SentencePieceTokenizer(str(tmp_path / "nothing.model"))
