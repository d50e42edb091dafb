"""Whether sources are still what they were when they were read.

A file counts as unchanged if its time stamp and size are: an edit that keeps both goes unnoticed. A folder is looked at too,
because a new module in it may hide another one: it counts as unchanged if its time stamp is, or if it holds the same modules.
And packages must be found where they were found: one of the same name may have come earlier on the path.
"""

import os
import sys
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mmkit.conf.index.coding import Broken


# A file that is changed while it is read, or in the same tick of the file system's clock, could keep its time stamp.
_TICK = 50_000_000  # nanoseconds


def stamps_of(sources: Collection[Path], conditional: Iterable[str], started: int) -> dict[str, Any] | None:
    """What must stay as it is for what was read to stay right; None if it may have changed meanwhile.

    Args:
        sources: The files that were read, and folders that were searched.
        conditional: Packages whose absence or presence counts.
        started: When reading began, in nanoseconds.
    """
    try:
        searched = {path for path in sources if path.is_dir()}
        read = sorted({*sources} - searched)
        files = [[str(path), *_file_stamp(os.stat(path))] for path in read]
        around = {str(path) for path in (*searched, *(path.parent for path in read))}
        folders = [_folder_stamp(path) for path in sorted({*around, *_installed_folders()})]
    except OSError:
        return None
    if any(changed > started - _TICK for _, changed, _ in files):
        return None
    names = {*conditional, *(name for path in sources for name in _top_levels(str(path)))}
    return {"files": files, "folders": folders, "places": {name: place_of(name) for name in sorted(names)}}


def unchanged(stamps: Any) -> bool:
    """Whether all of it is as it was; raises Broken or KeyError for anything that ``stamps_of`` has not made."""
    for path, changed, size in stamps["files"]:
        if _file_stamp(os.stat(path)) != [changed, size]:
            return False
    for path, changed, modules in stamps["folders"]:
        if os.stat(path).st_mtime_ns != changed and _modules_in(path) != modules:
            return False
    if not isinstance(stamps["places"], dict):
        raise Broken("places")
    return all(place_of(name) == place for name, place in stamps["places"].items())


def place_of(name: str) -> list[str]:
    """Where a top-level package is found; empty if it is not."""
    return list(_place_of(name, tuple(sys.path)))


def forget_places() -> None:
    """Look anew."""
    _place_of.cache_clear()


@lru_cache(maxsize=1024)
def _place_of(name: str, path: tuple[str, ...]) -> tuple[str, ...]:
    spec = PathFinder.find_spec(name)
    if spec is None:
        return ()
    return (spec.origin,) if spec.origin else tuple(spec.submodule_search_locations or ())


def _file_stamp(status: os.stat_result) -> list[int]:
    return [status.st_mtime_ns, status.st_size]


def _folder_stamp(path: str) -> list[Any]:
    return [path, os.stat(path).st_mtime_ns, _modules_in(path)]


def _modules_in(path: str) -> str:
    """Names of what can be imported from a folder; not what Python, editors and runs leave there."""
    names = [each for each in os.listdir(path) if each.endswith((".py", ".so", ".pyd")) or each.isidentifier()]
    return " ".join(sorted(name for name in names if name != "__pycache__"))


def _installed_folders() -> list[str]:
    """A package that is installed or removed may change what a conditional import does."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages")) and os.path.isdir(path)]


def _top_levels(path: str) -> set[str]:
    """The packages by which a file may have been found."""
    found = {path[len(root) :].strip(os.sep).partition(os.sep)[0] for root in sys.path if root and path.startswith(root + os.sep)}
    return {name for each in found if (name := each.removesuffix(".py")).isidentifier()}
