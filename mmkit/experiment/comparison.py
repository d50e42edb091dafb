"""Whether two runs came to the same: bit by bit, and where they first read something else."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkit.experiment.checkpoint import DirectoryCheckpointIO
from mmkit.experiment.input_record import read_record


# What a checkpoint holds of the training itself; the rest tells of the place and the time.
_COMPARED = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "training_means")


def different_states(first: Path, second: Path) -> list[str]:
    """Names of the tensors and numbers that differ between two checkpoints, in their order.

    Weights, optimizer, schedules, callbacks (the average of the weights among them) and sums of metrics are compared.
    """
    io = DirectoryCheckpointIO()
    states = [_flat({key: io.load_checkpoint(path).get(key) for key in _COMPARED}) for path in (first, second)]
    names = dict.fromkeys([*states[0], *states[1]])
    return [name for name in names if not _equal(states[0].get(name), states[1].get(name))]


def different_inputs(first: Path, second: Path) -> Iterator[str]:
    """Sentences on the batches that differ between two records of inputs, in their order."""
    records = [read_record(first), read_record(second)]
    for where in sorted({*records[0], *records[1]}):
        epoch, batch = where
        name = f"epoch {epoch}, batch {batch}"
        if where not in records[0] or where not in records[1]:
            yield f"{name}: only {'the first' if where in records[0] else 'the second'} run has it"
            continue
        line, other = (record[where] for record in records)
        keys = [key for key in {**line["digests"], **other["digests"]} if line["digests"].get(key) != other["digests"].get(key)]
        if keys:
            yield f"{name}: {', '.join(keys)} differ; example ids {_told(line['ids'])}"


def _told(ids: Mapping[str, Any]) -> str:
    rows = next(iter(ids.values()), [])
    listed = ", ".join(f"({', '.join(map(str, row))})" for row in rows[:8])
    return listed + (", …" if len(rows) > 8 else "")


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {key: value}
    return {name: leaf for part, entry in items for name, leaf in _flat(entry, f"{key}.{part}" if key else str(part)).items()}


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(_bits(a), _bits(b))
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
