"""Which files of the Python standard library are read, and into which split each goes."""

import hashlib
import os
import sysconfig
from pathlib import Path, PurePosixPath


SPLITS = ("train", "val", "test")
#: Parts of a hundred by split; a file's part is a hash of its path.
SHARES = {"train": 80, "val": 10, "test": 10}

#: Folders that are left out wherever they lie.
EXCLUDED_FOLDERS = frozenset(
    {
        "site-packages", "dist-packages",  # not the standard library
        "test", "tests", "idle_test",  # left out of many installations; long tables of literals
        "idlelib", "turtledemo", "lib2to3", "ensurepip",  # programs, which Linux distributions package apart
        "encodings", "pydoc_data",  # written by programs: tables of characters, a manual
        "__pycache__",
    }
)  # fmt: skip


def standard_library() -> Path:
    """The folder of the running Python's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def find_sources(root: Path) -> list[PurePosixPath]:
    """Paths of the source files under ``root``, relative to it and sorted.

    Left out are :data:`EXCLUDED_FOLDERS` and what the build of Python wrote (``config-*``, ``_sysconfigdata*.py``).
    """
    found: list[PurePosixPath] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in EXCLUDED_FOLDERS and not name.startswith("config-")]
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        found += [here / name for name in names if name.endswith(".py") and not name.startswith("_sysconfigdata")]
    return sorted(found)


def split_of(path: PurePosixPath) -> str:
    """The split of a file: by a hash of its path alone, so that a file stays where it is when others come or go.

    Example:
        >>> split_of(PurePosixPath("json/decoder.py"))
        'train'
    """
    part = int.from_bytes(hashlib.blake2b(path.as_posix().encode(), digest_size=8).digest()) % 100
    below = 0
    for split, share in SHARES.items():
        below += share
        if part < below:
            return split
    raise AssertionError("the shares make a hundred")
