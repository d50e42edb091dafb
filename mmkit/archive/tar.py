"""The part of the tar format that archives use: regular files with plain names, nothing else.

Python's ``tarfile`` understands links, devices, sparse files and headers that change other headers. None of these has a place in
an archive, so that none of them can be got wrong.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mmkit.archive.format import Limits
from mmkit.errors import RefusedError


BLOCK = 512
END = bytes(2 * BLOCK)
MAX_PADDING = 20 * BLOCK  # other programs fill up the last record
MAX_USTAR = 8**11  # sizes from here on need GNU's binary numbers

_KINDS = {
    b"\0": "a file of the old tar format",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"D": "a directory dump",
    b"g": "a pax header",
    b"x": "a pax header",
    b"K": "a GNU long link name",
    b"L": "a GNU long name",
    b"M": "a part of a multi-volume file",
    b"S": "a sparse file",
    b"V": "a volume label",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x5d\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK": "zip; a file of torch.save? init_from reads those",
    b"Rar!": "rar",
    b"7z\xbc\xaf": "7z",
}


@dataclass(frozen=True)
class Entry:
    """Where a member's bytes lie in the file."""

    name: str
    offset: int
    size: int


def tar_header(name: str, size: int) -> bytes:
    """The header of a member: no time, no owner, mode 644."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT if size < MAX_USTAR else tarfile.GNU_FORMAT, "ascii", "strict")


def padding(size: int) -> bytes:
    """What fills up the last block of a member."""
    return bytes(-size % BLOCK)


def tar_entries(file: BinaryIO, file_size: int, limits: Limits) -> list[Entry]:
    """List the members without reading them.

    Raises:
        RefusedError: If the file is no plain tar of regular files, or larger than the limits.
    """
    refuse_other_formats(file.read(8))
    entries, seen, total = [], set(), 0
    for entry in _entries(file, file_size):
        total += entry.size
        if entry.name.casefold() in seen:
            raise RefusedError(f"The member {entry.name!r} stands there twice, or once more in other letters.")
        if entry.size > limits.member_bytes or total > limits.total_bytes:
            raise RefusedError(
                f"The member {entry.name!r} has {entry.size:,} bytes, {total:,} with those before: over the limit."
            )
        if len(entries) == limits.members:
            raise RefusedError(f"There are more than {limits.members} members.")
        seen.add(entry.name.casefold())
        entries.append(entry)
    return entries


def refuse_other_formats(start: bytes) -> None:
    """Say what a file is that begins so, if that is not a tar."""
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise RefusedError(f"It is compressed ({name}). An archive is a plain tar.")
    if len(start) > 1 and start[0] == 0x80 and start[1] <= 5:
        raise RefusedError("It is a pickle, which can run any code when it is loaded.")


def _entries(file: BinaryIO, file_size: int) -> Iterator[Entry]:
    position = 0
    while True:
        file.seek(position)
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise RefusedError("It is cut off: there is no end of the tar.")
        if not any(header):
            _check_end(file, file_size, position)
            return
        name, size = _parse(header)
        if position + BLOCK + size + len(padding(size)) > file_size:
            raise RefusedError(f"It is cut off within the member {name!r}, which should have {size:,} bytes.")
        file.seek(position + BLOCK + size)
        if any(file.read(len(padding(size)))):
            raise RefusedError(f"Bytes follow the member {name!r} that belong to none.")
        yield Entry(name, position + BLOCK, size)
        position += BLOCK + size + len(padding(size))


def _check_end(file: BinaryIO, file_size: int, position: int) -> None:
    rest = file_size - position
    file.seek(position)
    if rest < len(END) or rest > MAX_PADDING + len(END) or any(file.read(rest)):
        raise RefusedError(f"{rest:,} bytes follow the last member that are not the end of a tar.")


def _parse(header: bytes) -> tuple[str, int]:
    if header[257:262] != b"ustar":
        raise RefusedError("It is no tar.")
    if _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise RefusedError("The checksum of a header is wrong.")
    name = _text(header[0:100])
    if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
        name = f"{prefix}/{name}"
    if (kind := header[156:157]) != b"0":
        raise RefusedError(f"The member {name!r} is {_KINDS.get(kind, 'of an unknown kind')}, not a file.")
    if any(header[157:257]):
        raise RefusedError(f"The member {name!r} names a link.")
    return name, _size(header[124:136])


def _text(field: bytes) -> str:
    text, _, rest = field.partition(b"\0")
    try:
        if any(rest):
            raise ValueError
        return text.decode("ascii")
    except ValueError:
        raise RefusedError(f"The name of a member is not plain ASCII: {field.rstrip(bytes(1))!r}.") from None


def _size(field: bytes) -> int:
    return int.from_bytes(field[1:], "big") if field[0] == 0x80 else _octal(field)


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ")
    if not digits or any(byte not in b"01234567" for byte in digits):
        raise RefusedError(f"A header holds {field!r} where a number should be.")
    return int(digits, 8)
