"""What ``data_prefix`` may be: one file, several, weighted ones, or each of these for every split."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from mmkit.datasets.text.splits import SPLITS, split_named
from mmkit.errors import RefusedError, UsageError


_FORMS = "Give a path, [path1, path2, …], [weight1, path1, weight2, path2, …], or {train: …, validation: …, test: …} of these."


@dataclass(frozen=True)
class WeightedFiles:
    """Files that are read one after the other, and how much of a blend they make.

    Attributes:
        paths: The files.
        weight: In any unit; None where files are not blended.
    """

    paths: tuple[Path, ...]
    weight: float | None = None


def prefix_of_split(data_prefix: Any, split: str) -> Any:
    """What ``data_prefix`` gives for a split, and whether it names splits at all.

    Raises:
        UsageError: It names splits, but not this one, or others than there are.
    """
    if not isinstance(data_prefix, Mapping):
        return data_prefix
    by_split = {split_named(str(name)): prefix for name, prefix in data_prefix.items()}
    if len(by_split) < len(data_prefix):
        raise UsageError(f"data_prefix names a split twice: {', '.join(map(str, data_prefix))}. Leave one of them out.")
    if by_split.get(split_named(split)) is None:
        have = ", ".join(name for name in SPLITS if by_split.get(name) is not None)
        raise UsageError(f"data_prefix has nothing for split {split!r}. It has: {have or 'nothing'}.")
    return by_split[split_named(split)]


def weighted_files(data_prefix: Any) -> list[WeightedFiles]:
    """The files of a ``data_prefix``; one entry without weight, or several with.

    Raises:
        UsageError: It is of no form that is known, or a weight is not above 0.
        RefusedError: A pattern matches no file.
    """
    if isinstance(data_prefix, str | Path):
        return [WeightedFiles(_files(data_prefix))]
    if not isinstance(data_prefix, Sequence) or not data_prefix:
        raise UsageError(f"data_prefix={data_prefix!r} names no file. {_FORMS}")
    if all(isinstance(entry, str | Path) for entry in data_prefix):
        return [WeightedFiles(tuple(path for entry in data_prefix for path in _files(entry)))]
    weights, paths = data_prefix[::2], data_prefix[1::2]
    if len(weights) != len(paths) or not all(map(_is_number, weights)) or not all(isinstance(p, str | Path) for p in paths):
        raise UsageError(f"data_prefix={list(data_prefix)!r}: weights and paths must alternate, a weight first. {_FORMS}")
    if unusable := [weight for weight in weights if not 0 < weight < math.inf]:
        raise UsageError(f"data_prefix: weights must be above 0 and finite, got {unusable[0]}. Leave out what is not to be read.")
    return [WeightedFiles(_files(path), float(weight)) for weight, path in zip(weights, paths, strict=True)]


def _files(entry: str | Path) -> tuple[Path, ...]:
    path = Path(entry).expanduser()
    if path.exists() or not any(character in str(path) for character in "*?["):
        return (path,)
    matches = tuple(sorted(Path(match) for match in glob(str(path), recursive=True) if Path(match).is_file()))
    if not matches:
        raise RefusedError(f"No file matches {entry!s}. Check `data_prefix`.")
    return matches


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
