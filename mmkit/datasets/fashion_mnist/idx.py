"""Reading the idx format of MNIST and its successors (http://yann.lecun.com/exdb/mnist, "the IDX file format")."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from mmkit.errors import RefusedError


_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> np.ndarray:
    """The array of unsigned bytes that a file holds, compressed with gzip or not.

    The format: two zero bytes, a byte for the type, a byte for the number of dimensions, their sizes in four bytes each with the
    highest first, the values.

    Args:
        path: A file such as ``train-images-idx3-ubyte.gz``.

    Raises:
        RefusedError: The file cannot be read, has another format or type, or has more or fewer values than it says.
    """
    content = _decompressed(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise RefusedError(f"{path} is no idx file: it begins with {content[:4].hex(' ') or 'nothing'}, not with 00 00.")
    kind, num_dims = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise RefusedError(f"{path} holds values of the type 0x{kind:02x}; only unsigned bytes (0x08) are read.")
    start = 4 + 4 * num_dims
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist()) if len(content) >= start else ()
    if num_dims == 0 or not shape or len(content) - start != math.prod(shape):
        raise RefusedError(f"{path} is damaged: {max(0, len(content) - start):,} values where its header says {shape}.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _decompressed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise RefusedError(f"{path} cannot be read: {error}") from error
