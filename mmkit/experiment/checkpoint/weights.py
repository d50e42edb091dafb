"""Tensors in the safetensors format, written and read in one pass over the bytes, with shared ones stored once."""

import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from mmkit.experiment.checkpoint.manifest import Member, new_hash
from mmkit.experiment.checkpoint.snapshot import is_plain
from mmkit.experiment.checkpoint.verification import CHUNK_BYTES, opened, refusal


ALIASES = "mmkit.aliases"  # key of the file's metadata: JSON of {name: name under which the same tensor is stored}

# Names of the format; everything else is kept with the trainer's state.
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


class Writable(Protocol):
    """What weights are written to."""

    def write(self, data: Any, /) -> Any: ...


def fits(name: Any, value: Any) -> bool:
    """Whether the format holds this entry of a state dict."""
    named = isinstance(name, str) and name != "__metadata__"
    return named and isinstance(value, Tensor) and is_plain(value) and value.dtype in _NAMES


def write_weights(tensors: Mapping[str, Tensor], file: Writable) -> None:
    """Write tensors, in their order, as a safetensors file.

    Names of one and the same view of memory are stored once. Views that only overlap are stored each.

    Args:
        tensors: In host memory; those that ``fits``.
        file: An open file.
    """
    stored, aliases = _without_aliases(tensors)
    # The format wants no gaps, and readers want aligned tensors: wide elements first.
    placed = sorted(stored, key=lambda name: -stored[name].element_size())
    offsets, end = {}, 0
    for name in placed:
        offsets[name] = (end, end := end + stored[name].numel() * stored[name].element_size())
    header: dict[str, Any] = {"__metadata__": {"format": "pt", ALIASES: json.dumps(aliases)}}
    for name, tensor in stored.items():
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets[name]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in placed:
        if stored[name].numel():
            file.write(_bytes_of(stored[name].detach().contiguous()))


def _without_aliases(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    first: dict[Any, str] = {}
    stored, aliases = {}, {}
    for name, tensor in tensors.items():
        view = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) if tensor.numel() else name
        if (known := first.setdefault(view, name)) == name:
            stored[name] = tensor
        else:
            aliases[name] = known
    return stored, aliases


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.flatten().view(torch.uint8).numpy().data


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: torch.dtype
    shape: list[int]
    start: int
    end: int


def read_weights(path: Path, name: str, member: Member) -> OrderedDict[str, Tensor]:
    """Read a member of a checkpoint and hold it against the manifest in the same pass.

    Args:
        path: Directory of the checkpoint.
        name: Name of the member.
        member: Size and digest that the manifest states.

    Returns:
        Tensors by name, those that share memory under all their names, in no particular order.

    Raises:
        RefusedError: The file is damaged.
    """
    with opened(path / name) as file:
        reader = _HashedReader(file)
        try:
            entries, aliases = _header(reader, member.size)
            tensors = OrderedDict((entry.name, _tensor(reader, entry)) for entry in entries)
            intact = reader.digest.hexdigest() == member.digest
        except OSError as error:
            raise refusal(path, [f"{name} cannot be read: {error.strerror}"]) from None
        except Exception:  # the header is read in the pass that finds damage, and damaged bytes can mean anything
            raise refusal(path, [f"{name} is damaged: its header cannot be read"]) from None
        if not intact:
            raise refusal(path, [f"{name} is damaged: it does not have the digest that the manifest states"])
    tensors.update({name: tensors[stored] for name, stored in aliases.items()})
    return tensors


class _HashedReader:
    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, new_hash()

    def read_into(self, view: memoryview) -> None:
        for start in range(0, len(view), CHUNK_BYTES):
            chunk, filled = view[start : start + CHUNK_BYTES], 0
            while filled < len(chunk):
                count = self.file.readinto(chunk[filled:])  # pyright: ignore[reportAttributeAccessIssue]
                if not count:
                    raise EOFError
                filled += count
            self.digest.update(chunk)

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        self.read_into(memoryview(data))
        return bytes(data)


def _header(reader: _HashedReader, file_size: int) -> tuple[list[_Entry], dict[str, str]]:
    """Entries in the order of their bytes, and the aliases.

    Raises:
        ValueError: The entries do not fill the file without gaps, or not with what they say.
    """
    size = int.from_bytes(reader.read(8), "little")
    if size > file_size - 8:
        raise ValueError(size)
    header = json.loads(reader.read(size))
    aliases = json.loads(header.pop("__metadata__")[ALIASES])
    entries = [
        _Entry(name, _DTYPES[entry["dtype"]], [*map(int, entry["shape"])], *map(int, entry["data_offsets"]))
        for name, entry in header.items()
    ]
    entries.sort(key=lambda entry: (entry.start, entry.end))
    end = 0
    for entry in entries:
        num_bytes = math.prod(entry.shape) * entry.dtype.itemsize
        if entry.start != end or entry.end != end + num_bytes or min(entry.shape, default=0) < 0:
            raise ValueError(entry)
        end = entry.end
    if end + 8 + size != file_size or not set(aliases.values()) <= set(header):
        raise ValueError(end)
    return entries, aliases


def _tensor(reader: _HashedReader, entry: _Entry) -> Tensor:
    tensor = torch.empty(entry.shape, dtype=entry.dtype)
    if tensor.numel():
        reader.read_into(_bytes_of(tensor))
    return tensor
