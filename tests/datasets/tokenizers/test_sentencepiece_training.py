import multiprocessing
import os
from pathlib import Path

import pytest

from mmkit.datasets.tokenizers import SentencePieceTokenizer, train_sentencepiece


sentencepiece = pytest.importorskip("sentencepiece")
SENTENCES = [f"the {a} {b} sat on the {c} mat." for a in ("old", "red", "big") for b in ("cat", "dog") for c in ("soft", "wide")]


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(SENTENCES))
    return str(path)


def test_a_vocabulary_is_trained_once(corpus: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    first = Path(train_sentencepiece(corpus, 27, cache_dir=cache))
    written = first.stat().st_mtime_ns
    assert Path(train_sentencepiece(corpus, 27, cache_dir=cache)) == first
    assert first.stat().st_mtime_ns == written
    assert sentencepiece.SentencePieceProcessor(model_file=str(first)).vocab_size() == 27


def test_another_text_and_another_setting_make_another_one(corpus: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    paths = [
        train_sentencepiece(corpus, 27, cache_dir=cache),
        train_sentencepiece(corpus, 26, cache_dir=cache),
        train_sentencepiece(corpus, 27, "bpe", cache_dir=cache),
        train_sentencepiece(corpus, 27, settings={"max_sentencepiece_length": 5}, cache_dir=cache),
    ]
    Path(corpus).write_text("\n".join(reversed(SENTENCES)))
    paths.append(train_sentencepiece(corpus, 27, cache_dir=cache))
    assert len(set(paths)) == 5


def test_the_same_text_elsewhere_gives_the_same_bytes(corpus: str, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.txt"
    other.write_text(Path(corpus).read_text())
    first = Path(train_sentencepiece(corpus, 27, cache_dir=str(tmp_path / "a")))
    second = Path(train_sentencepiece([str(other)], 27, cache_dir=str(tmp_path / "b")))
    assert first.parent.name == second.parent.name


def test_a_training_that_failed_or_was_killed_leaves_nothing(corpus: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(ValueError, match="vocab_size=7 is too small, characters alone need"):
        train_sentencepiece(corpus, 7, cache_dir=str(cache))
    assert [entry.name for entry in cache.iterdir() if not entry.name.endswith(".lock")] == []
    path = Path(train_sentencepiece(corpus, 27, cache_dir=str(cache)))
    path.rename(path.with_name("half"))  # a folder without its model counts as nothing
    assert Path(train_sentencepiece(corpus, 27, cache_dir=str(cache))).is_file()


def _train(corpus: str, cache: str) -> None:
    train_sentencepiece(corpus, 27, cache_dir=cache)


def test_processes_that_start_at_once_train_it_once(corpus: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    processes = [context.Process(target=_train, args=(corpus, str(cache))) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [entry.name for entry in cache.iterdir() if not entry.name.startswith(".")] == [
        Path(train_sentencepiece(corpus, 27, cache_dir=str(cache))).parent.name
    ]


def test_a_tokenizer_trains_its_vocabulary_by_itself(corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path / "data"))
    tokenizer = SentencePieceTokenizer(train_on=corpus, vocab_size=27, training_settings={"num_threads": 2})
    assert Path(tokenizer.model).is_relative_to(tmp_path / "data" / "sentencepiece")
    assert tokenizer.decode(tokenizer("the old cat.")["text"]) == "the old cat."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"vocab_size": 9999}, "Please set it to a value <= ", id="too large"),
        pytest.param({"model_type": "words"}, "Unknown model_type 'words'. Choose one of: unigram, bpe", id="type"),
        pytest.param({"settings": {"speed": 1}}, "unknown field name", id="setting"),
        pytest.param({"settings": {"input": "x"}}, "cannot have input: mmkit sets", id="set here"),
    ],
)
def test_what_cannot_be_trained_is_refused(corpus: str, tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_sentencepiece(**{"files": corpus, "vocab_size": 27, "cache_dir": str(tmp_path / "cache"), **arguments})


@pytest.mark.parametrize("text", ["", "\n\n"], ids=["empty", "blank lines"])
def test_a_file_without_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.txt").write_text(text)
    with pytest.raises(ValueError, match=r"no text"):
        train_sentencepiece(str(tmp_path / "empty.txt"), 27, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="There is no file"):
        train_sentencepiece(str(tmp_path / "nothing.txt"), 27)
