"""A file of arrays, written whole or not at all, whose damage shows: safetensors with a checksum, read as a memory map."""

import json
import mmap
import os
import secrets
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.errors import RefusedError


HEADER_BYTES = 4096  # fixed, so that it can be written when the data is complete; arrays start on a page
_TYPES = {"U32": np.dtype("<u4"), "I64": np.dtype("<i8")}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_VERSION = 1  # to be raised when the same source gives other arrays


class DamagedError(ValueError):
    """The file is not what was written."""


@dataclass(frozen=True)
class Container:
    """An open file.

    Attributes:
        path: Where it lies.
        meta: What was written with the arrays.
        arrays: The arrays by name; views on a memory map.
        checksum: Of all arrays; tells files of the same name apart.
    """

    path: Path
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    checksum: int


def write_container(path: Path, arrays: Mapping[str, tuple[np.dtype, Iterable[bytes]]], meta: dict[str, Any]) -> None:
    """Write arrays, given as type and chunks of bytes, under a temporary name, then rename.

    Whoever reads ``path`` sees the old file or the new one. Several writers do not disturb each other, on a network file system
    too: every one has a temporary file of its own, and the last to rename wins.

    Args:
        path: Where the file is to be.
        arrays: ``<u4`` or ``<i8``; those of wider numbers first, so that all are aligned.
        meta: Anything that JSON can hold, some 3 kB.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.seek(HEADER_BYTES)
            tensors, checksum = _write_arrays(file, arrays)
            file.seek(0)
            file.write(_header(tensors, {"version": _VERSION, "checksum": checksum, "meta": meta}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_container(path: Path, verify: bool = True) -> Container:
    """Open a file as a memory map.

    Args:
        path: The file.
        verify: Whether to compute the checksum.

    Raises:
        FileNotFoundError: There is none.
        DamagedError: It is not what :func:`write_container` writes.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < HEADER_BYTES:
            raise DamagedError(f"{path} has {size} bytes; the header alone has {HEADER_BYTES}.")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        if int.from_bytes(data[:8], "little") != HEADER_BYTES - 8:
            raise ValueError("another length of the header")
        header = json.loads(bytes(data[8:HEADER_BYTES]))
        own = json.loads(header.pop("__metadata__")["mmkit"])
        if own["version"] != _VERSION or max(tensor["data_offsets"][1] for tensor in header.values()) != size - HEADER_BYTES:
            raise ValueError("another version or size")
        arrays = {name: _array(data[HEADER_BYTES:], tensor) for name, tensor in header.items()}
        if verify and _checksum(data[HEADER_BYTES:]) != own["checksum"]:
            raise ValueError("the checksum differs")
        return Container(path, own["meta"], arrays, own["checksum"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is damaged: {error}.") from error


def reopened(path: Path, checksum: int) -> Container:
    """A file that was open before, for a worker of the process that opened it.

    Raises:
        RefusedError: It is another one now.
    """
    container = read_container(path, verify=False)
    if container.checksum != checksum:
        raise RefusedError(f"{path} changed after it was opened. Start again.")
    return container


def _write_arrays(file: Any, arrays: Mapping[str, tuple[np.dtype, Iterable[bytes]]]) -> tuple[dict[str, Any], int]:
    tensors, checksum, end = {}, 0, 0
    for name, (dtype, chunks) in arrays.items():
        start = end
        for chunk in chunks:
            file.write(chunk)
            checksum = zlib.crc32(chunk, checksum)
            end += len(chunk)
        shape = [(end - start) // dtype.itemsize]
        tensors[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [start, end]}
    return tensors, checksum


def _header(tensors: dict[str, Any], own: dict[str, Any]) -> bytes:
    text = json.dumps({"__metadata__": {"mmkit": json.dumps(own)}, **tensors}).encode()
    assert len(text) <= HEADER_BYTES - 8
    return (HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8)


def _array(data: memoryview, tensor: dict[str, Any]) -> np.ndarray:
    start, end = tensor["data_offsets"]
    return np.frombuffer(data[start:end], _TYPES[tensor["dtype"]]).reshape(tensor["shape"])


def _checksum(data: memoryview) -> int:
    checksum = 0
    for start in range(0, len(data), 1 << 20):
        checksum = zlib.crc32(data[start : start + (1 << 20)], checksum)
    return checksum
