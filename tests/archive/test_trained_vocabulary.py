"""A vocabulary that a tokenizer trained by itself travels with the task."""

import shutil
from pathlib import Path

import pytest

from mmkit.archive import build
from mmkit.tasks.base import TrainingTask


pytest.importorskip("sentencepiece")


@pytest.mark.parametrize("name", ["SentencePieceTokenizer", "text_tokenizer"])
@pytest.mark.usefixtures("registered_parts")
def test_a_vocabulary_trained_on_first_use_is_in_the_archive(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path / "data"))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a cat sat\na dog sat\na cat ran")
    tokenizer = {"_target_": f"mmkit.datasets.tokenizers.{name}", "train_on": str(corpus), "vocab_size": 16}
    task = build({"_target_": "tests.archive.parts.Task", "tokenizer": tokenizer})
    expected = task.tokenizer("a cat ran")["text"].tolist()
    path = task.save_to(tmp_path / "task.mmkit")
    corpus.unlink()
    shutil.rmtree(tmp_path / "data")
    restored = TrainingTask.restore_from(path)
    assert restored.tokenizer("a cat ran")["text"].tolist() == expected
    assert restored.config.tokenizer.train_on is None
    again = TrainingTask.restore_from(restored.save_to(tmp_path / "again.mmkit"))
    assert again.tokenizer("a cat ran")["text"].tolist() == expected
