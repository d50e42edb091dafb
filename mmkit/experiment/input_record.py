"""What went into every training batch, as digests: how two runs are compared that should have read the same."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mmkit.constants import EXAMPLE_IDS_KEY


class InputRecord(Callback):
    """Append one line per training batch: epoch, batch, step, the example ids, and a digest of every value by key.

    A run that resumes writes the batches after its checkpoint again; the last line of a batch counts.

    Args:
        directory: The run's directory; the file is ``inputs-rank-<rank>.jsonl``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        where = {"epoch": trainer.current_epoch, "batch": batch_idx, "step": trainer.global_step}
        with record_path(self.directory, trainer.global_rank).open("a") as file:
            file.write(json.dumps({**where, "ids": _ids(batch), "digests": digests(batch)}) + "\n")


def record_path(directory: Path, rank: int) -> Path:
    """The record of one rank."""
    return directory / f"inputs-rank-{rank}.jsonl"


def read_record(path: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """Lines by (epoch, batch); a half-written last line is left out."""
    lines = (line for line in path.read_text().splitlines() if line.endswith("}"))
    return {(line["epoch"], line["batch"]): line for line in map(json.loads, lines)}


def digests(batch: Any) -> dict[str, str]:
    """A digest of every value of a batch by its dotted key."""
    return {key: hashlib.blake2b(_bytes(value), digest_size=8).hexdigest() for key, value in _leaves(batch, "")}


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _leaves(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and value and not isinstance(value[0], str | int | float):
        for number, entry in enumerate(value):
            yield from _leaves(entry, f"{key}[{number}]")
    else:
        yield key, value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, Tensor):
        return repr(value).encode()
    value = value.detach().cpu().contiguous()
    return f"{value.dtype} {tuple(value.shape)}".encode() + bytes(value.flatten().view(torch.uint8).numpy().data)


def _ids(batch: Any) -> dict[str, list[list[int]]]:
    ids = batch.get(EXAMPLE_IDS_KEY, {}) if isinstance(batch, Mapping) else {}
    return {key: value.tolist() for key, value in ids.items() if isinstance(value, Tensor)}
