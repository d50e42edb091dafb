"""The bytes of all source files in one file of mmkit's cache, found again by what was read."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmkit.datasets.cache import cache_root, locked, sha256_of, written_at_once
from mmkit.datasets.stdlib_bytes.files import SPLITS, find_sources, split_of, standard_library
from mmkit.errors import RefusedError


#: Stands before every file; no Python source has this byte, so predicting it says that a file ends.
SEPARATOR = 0
_LAYOUT = 1  # to be raised when the files of the cache come out differently


@dataclass(frozen=True)
class Corpus:
    """All bytes, split by split, and which file they are from.

    Attributes:
        folder: Where ``bytes.bin`` and ``index.json`` lie.
    """

    folder: Path

    @cached_property
    def index(self) -> dict[str, Any]:
        """``splits``: start and end of each; ``files``: path, split, start and size of each; ``sha256``."""
        return json.loads((self.folder / "index.json").read_text())

    def split(self, name: str) -> np.ndarray:
        """The bytes (N,) of a split as a memory map, with :data:`SEPARATOR` before each file."""
        start, end = self.index["splits"][name]
        return np.asarray(np.memmap(self.folder / "bytes.bin", np.uint8, "r"))[start:end]


def load_corpus(root: Path | None = None, cache_dir: Path | None = None) -> Corpus:
    """The corpus of the sources under ``root``, written into the cache unless it is there.

    Its folder is named by a digest of paths and contents: another Python, or a changed file, makes another corpus.

    Args:
        root: A folder of Python source; default: the running Python's standard library.
        cache_dir: Default: ``stdlib_bytes`` in mmkit's data folder.

    Raises:
        RefusedError: There is no source of some split under ``root``.
    """
    root = root or standard_library()
    sources = {path: (root / path).read_bytes() for path in find_sources(root)}
    sources = {path: content for path, content in sources.items() if SEPARATOR not in content}
    if missing := [split for split in SPLITS if split not in {split_of(path) for path in sources}]:
        raise RefusedError(
            f"{root} has {len(sources)} Python source files, none of them for {', '.join(missing)}. Some distributions leave "
            "the source of the standard library out; use a Python that has it."
        )
    folder = (cache_dir or cache_root() / "stdlib_bytes") / _digest_of(sources)
    with locked(folder):
        if not _is_whole(folder):
            _write(folder, sources)
    return Corpus(folder)


def _digest_of(sources: dict[PurePosixPath, bytes]) -> str:
    digest = hashlib.sha256(f"{_LAYOUT}".encode())
    for path, content in sources.items():
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]


def _write(folder: Path, sources: dict[PurePosixPath, bytes]) -> None:
    splits, files, end = {}, [], 0
    with written_at_once(folder) as partial:
        with (partial / "bytes.bin").open("wb") as file:
            for split in SPLITS:
                start = end
                for path in (path for path in sources if split_of(path) == split):
                    size = file.write(bytes([SEPARATOR]) + sources[path])
                    files.append({"path": str(path), "split": split, "start": end, "size": size})
                    end += size
                splits[split] = [start, end]
        digest = sha256_of(partial / "bytes.bin")
        (partial / "index.json").write_text(json.dumps({"splits": splits, "files": files, "sha256": digest}, indent=1))


def _is_whole(folder: Path) -> bool:
    try:
        return json.loads((folder / "index.json").read_text())["sha256"] == sha256_of(folder / "bytes.bin")
    except (OSError, ValueError, KeyError, TypeError):
        return False
