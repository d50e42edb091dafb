"""Where a key stands in a YAML file."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from mmkit.cli.preflight.mistakes import place_of


def place(path: Path, parts: Sequence[str | int], of_value: bool = False) -> str | None:
    """``file:line`` of a key, given as its parts from the top of the file; None if the file does not have it."""
    node, mark = _root(path), None
    for part in parts:
        mark, node = _child(node, part)
        if mark is None:
            return None
    if of_value and node is not None:
        mark = node.start_mark
    return place_of(path, mark.line + 1) if mark is not None else place_of(path, 1)


def _child(node: Any, part: str | int) -> tuple[Any, Any]:
    """The mark of a child and the child; None for both if there is none."""
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == str(part)), (None, None))
    if isinstance(node, yaml.SequenceNode) and str(part).isdigit() and int(part) < len(node.value):
        return node.value[int(part)].start_mark, node.value[int(part)]
    return None, None


@lru_cache(maxsize=64)
def _composed(path: Path, stamp: tuple[int, int]) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, ValueError):
        return None


def _root(path: Path) -> Any:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _composed(path, (stat.st_mtime_ns, stat.st_size))
