"""What evaluation tasks read, and whether the batches of their stage have it."""

import contextlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from mmkit.datasets.core import Modalities
from mmkit.plan.findings import Findings
from mmkit.tasks.base import TrainingTask
from mmkit.tasks.hooks import EvaluationSpec


class RecordingDict(dict[str, Any]):
    """A batch that remembers what it was asked for in vain."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self.missed: list[str] = []

    def _look(self, key: str) -> None:
        if key not in self.keys() and key not in self.missed:
            self.missed.append(key)

    def __contains__(self, key: object) -> bool:
        self._look(str(key))
        return super().__contains__(key)

    def __missing__(self, key: str) -> Any:
        self._look(key)
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._look(key)
        return super().get(key, default)


def missed_keys(evaluation: nn.Module, task: TrainingTask, batch: Mapping[str, Any]) -> list[str]:
    """Keys that an evaluation task asks a batch for and that are not there.

    What else it does is of no concern: without data it may well fail.
    """
    recorded = RecordingDict(batch)
    for call in (
        lambda: evaluation.on_evaluation_epoch_start(task),  # pyright: ignore[reportCallIssue]
        lambda: evaluation.evaluation_step(task, recorded, 0),  # pyright: ignore[reportCallIssue]
    ):
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            call()
    return recorded.missed


def check_evaluation(
    name: str, spec: EvaluationSpec, task: TrainingTask, batch: Mapping[str, Any], source: str, findings: Findings
) -> None:
    """Note the embeddings and keys that an evaluation task reads in vain."""
    key = f"task.evaluation_tasks.{name}.task"
    embeddings = [entry for entry in batch if entry.endswith("_embedding")]
    for missed in missed_keys(spec.task, task, batch):
        modality = missed.removesuffix("_embedding")
        if missed in all_embeddings():
            have = ", ".join(entry.removesuffix("_embedding") for entry in embeddings) or "none"
            findings.mismatch(
                key, f"{key} reads the embedding of {modality!r}, but task.encoders and {source} give those of: {have}."
            )
        elif missed in Modalities.keys_of_all() and not missed.endswith(("_mask",)):
            have = ", ".join(entry for entry in batch if entry not in embeddings) or "nothing"
            findings.mismatch(key, f"{key} reads {missed!r}, which {source} does not give (it gives: {have}).")


def all_embeddings() -> set[str]:
    """The keys of the embeddings of all modalities."""
    return {Modalities.get_modality(name).embedding for name in Modalities.list_modalities()}


def stages_of(spec: EvaluationSpec, stages: Iterable[str]) -> list[str]:
    """The stages in which an evaluation task runs, of those that have data."""
    return [stage for stage in stages if spec.runs_in(stage)]
