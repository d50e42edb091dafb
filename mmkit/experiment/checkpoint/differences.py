"""What differs between two checkpoints."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from mmkit.errors import RefusedError
from mmkit.experiment.checkpoint.io import DirectoryCheckpointIO
from mmkit.experiment.checkpoint.manifest import CONFIG


MISSING = "(missing)"
_LENGTH = 60  # of a value as it is shown


@dataclass(frozen=True)
class TensorDifference:
    """A tensor that differs.

    Attributes:
        name: Its path in the checkpoint, e.g. ``state_dict.encoder.weight``.
        kinds: Type and shape in either, or ``"(missing)"``.
        max_abs: The largest absolute difference; None where types or shapes differ.
    """

    name: str
    kinds: tuple[str, str]
    max_abs: float | None


@dataclass(frozen=True)
class ValueDifference:
    """A plain value that differs, as text, or ``"(missing)"``."""

    name: str
    values: tuple[str, str]


@dataclass
class Differences:
    """Tensors, other state, and configuration that differ, and how many values were compared."""

    tensors: list[TensorDifference] = field(default_factory=list)
    state: list[ValueDifference] = field(default_factory=list)
    config: list[ValueDifference] = field(default_factory=list)
    num_compared: int = 0

    def __bool__(self) -> bool:
        return bool(self.tensors or self.state or self.config)


def differences(first: Path, second: Path) -> Differences:
    """Compare two checkpoints bit by bit: everything that they hold, and their configurations.

    Raises:
        RefusedError: One of them cannot be trusted.
    """
    io = DirectoryCheckpointIO()
    left, right = (dict(_leaves(io.load_checkpoint(path), "")) for path in (first, second))
    found = Differences(num_compared=len({*left, *right}))
    for name in dict.fromkeys([*left, *right]):
        pair = left.get(name, MISSING), right.get(name, MISSING)
        if any(isinstance(value, Tensor) for value in pair):
            found.tensors += _compared_tensors(name, *pair)
        elif not _equal(*pair):
            found.state.append(ValueDifference(name, (_shown(pair[0]), _shown(pair[1]))))
    configs = [dict(_leaves(_config(path), "")) for path in (first, second)]
    for name in dict.fromkeys([*configs[0], *configs[1]]):
        values = tuple(_shown(config.get(name, MISSING)) for config in configs)
        if values[0] != values[1]:
            found.config.append(ValueDifference(name, values))  # pyright: ignore[reportArgumentType]
    return found


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Tensors and plain values by dotted name; an empty container is a value."""
    entries: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else None
    if entries is None or not value:
        yield name, value
        return
    for key, entry in entries:
        yield from _leaves(entry, f"{name}.{key}" if name else str(key))


def _compared_tensors(name: str, first: Any, second: Any) -> Iterator[TensorDifference]:
    kinds = _kind(first), _kind(second)
    if kinds[0] != kinds[1] or not isinstance(first, Tensor):
        yield TensorDifference(name, kinds, None)
    elif not torch.equal(_bits(first), _bits(second)):
        yield TensorDifference(name, kinds, _max_abs(first, second))


def _max_abs(first: Tensor, second: Tensor) -> float:
    wide = torch.complex128 if first.is_complex() else torch.float64
    return (first.to(wide) - second.to(wide)).abs().max().item()


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return _shown(value)
    return f"{str(value.dtype).removeprefix('torch.')} {'×'.join(map(str, value.shape)) or 'scalar'}"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def _equal(first: Any, second: Any) -> bool:
    return type(first) is type(second) and (first == second or (first != first and second != second))  # NaN is NaN here


def _shown(value: Any) -> str:
    text = value if value is MISSING else repr(value)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


def _config(path: Path) -> Any:
    if not (path / CONFIG).is_file():
        return {}
    try:
        return OmegaConf.to_container(OmegaConf.load(path / CONFIG), resolve=False)
    except Exception as error:  # it has the right digest, but whoever saved it may have given anything
        raise RefusedError(f"{path}: {CONFIG} cannot be read: {error}") from None
