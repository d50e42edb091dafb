"""What ties an index to the file that it was made of."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


_NUM_SAMPLES, _SAMPLE_BYTES = 16, 4096


@dataclass(frozen=True)
class Stamp:
    """A file's size, time of last change in nanoseconds, and a digest of 16 samples spread over it, its two ends included.

    Neither of the first two shows everything: copying tools restore times, and file systems may count them in seconds.
    """

    size: int
    mtime_ns: int
    sample: str


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file as it is now."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        digest = hashlib.blake2b(digest_size=16)
        last = max(stat.st_size - _SAMPLE_BYTES, 0)
        for i in range(_NUM_SAMPLES):
            file.seek(last * i // (_NUM_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return Stamp(stat.st_size, stat.st_mtime_ns, digest.hexdigest())
