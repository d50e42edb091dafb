"""The folder for prepared data sets, downloads and computed features, and writing into it without leaving halves."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path


def cache_root() -> Path:
    """``$MMKIT_DATA``, or ``mmkit/data`` in the user's cache directory."""
    given = os.environ.get("MMKIT_DATA")
    return Path(given).expanduser().resolve() if given else user_cache_path("mmkit") / "data"


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time work on ``target``; the others wait."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        yield


@contextmanager
def written_at_once(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` when the block ends, and disappears when it fails.

    What stood at ``target`` is replaced. Use within :func:`locked`: what a killed process left behind is cleared away first.
    """
    for leftover in target.parent.glob(f".{target.name}.partial*"):
        shutil.rmtree(leftover)
    folder = target.parent / f".{target.name}.partial"
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            target.rename(folder.with_name(f"{folder.name}-replaced"))
        folder.rename(target)
    finally:
        for leftover in target.parent.glob(f"{folder.name}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
