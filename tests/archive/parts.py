"""Components of the tests of archives; registered, as a project's are, when the module is imported."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.archive.restorable import Restorable
from mmkit.conf.store import external_store
from mmkit.tasks.base import TrainingTask


class WordTokenizer:
    """A plain class whose vocabulary is a file."""

    artifact_arguments = ("vocab_file",)

    def __init__(self, vocab_file: str, mask_token: str = "[MASK]") -> None:
        self.words = Path(vocab_file).read_text("utf-8").split()
        self.path = vocab_file
        self.mask_token = mask_token


class FolderReader(Restorable, nn.Module):
    """A module of a task that registers its own artifact, a folder."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = self.register_artifact("folder", folder)
        self.texts = {file.name: file.read_text("utf-8") for file in Path(str(self.path)).rglob("*.txt")}
        self.weight = nn.Parameter(torch.zeros(2))


class Task(TrainingTask):
    """Registers a vocabulary that its configuration names, and one that it does not; and ties two weights."""

    def __init__(
        self,
        vocab: str | None = None,
        extra: str | None = None,
        reader: nn.Module | None = None,
        tokenizer: Any = None,
        nested: nn.Module | None = None,
        width: int = 3,
        token: str | None = None,
        path: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.vocab = self.register_artifact("vocab", vocab, verify_src_exists=vocab is not None)
        self.extra = self.register_artifact("somewhere.else", EXTRA, verify_src_exists=False)
        self.words = Path(self.vocab).read_text("utf-8").split() if self.vocab else []
        self.reader, self.tokenizer, self.nested = reader, tokenizer, nested
        self.embedding = nn.Embedding(width, 2)
        self.output = nn.Linear(2, width, bias=False)
        self.output.weight = self.embedding.weight
        self.token, self.path, self.settings = token, path, settings

    def forward(self, x_B: Tensor) -> Tensor:
        return self.output(self.embedding(x_B))


EXTRA: str | None = None  # where Task finds a file that no configuration names


def register() -> None:
    """Register all, as a project's configs package does."""
    external_store(WordTokenizer, group="datasets/tokenizers")
    external_store(FolderReader, group="modules/encoders")
    external_store(Task, group="task", name="ArchivedTask")
