"""Which strings a file of millions of lines has, in eight bytes a line."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np


# Shapes: N lines, M strings.
class KnownLines:
    """The lines of a text file as 64-bit hashes; a string that is in none of 10⁶ lines passes for one once in 10¹³ times.

    Args:
        path: A text file in UTF-8.
    """

    def __init__(self, path: str | Path) -> None:
        with Path(path).open("rb") as file:
            self._hash_N = np.fromiter((_hash(line.rstrip(b"\r\n")) for line in file), np.uint64)

    def __len__(self) -> int:
        return len(self._hash_N)

    def __call__(self, strings: Iterable[str]) -> list[bool]:
        """Whether each string (M,) is a line of the file."""
        hash_M = np.fromiter((_hash(string.encode()) for string in strings), np.uint64)
        return np.isin(hash_M, self._hash_N).tolist()


def _hash(line: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "little")
