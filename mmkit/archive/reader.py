"""Reading archives: every byte is held against the manifest before it is used, and nothing is unpickled or executed."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmkit.archive.format import CONFIG, MANIFEST, Limits, printable
from mmkit.archive.manifest import Manifest, parse_manifest
from mmkit.archive.tar import Entry, tar_entries
from mmkit.errors import RefusedError


CHUNK = 2**20


class Archive:
    """An open archive. Use :func:`open_archive`.

    Attributes:
        manifest: Its table of contents.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        entries = tar_entries(file, os.fstat(file.fileno()).st_size, limits)
        if not entries or entries[0].name != MANIFEST:
            raise RefusedError(f"The first member is not {MANIFEST}.")
        self._entries = {entry.name: entry for entry in entries}
        for name, limit in ((MANIFEST, limits.manifest_bytes), (CONFIG, limits.config_bytes)):
            if name in self._entries and self._entries[name].size > limit:
                raise RefusedError(f"{name} has {self._entries[name].size:,} bytes; at most {limit:,} are read.")
        sizes = {entry.name: entry.size for entry in entries[1:]}
        self.manifest: Manifest = parse_manifest(b"".join(self._chunks(entries[0])), sizes)

    def read(self, name: str) -> bytes:
        """The bytes of a member that the manifest lists."""
        data = bytearray()
        for chunk in self._verified(name):
            data += chunk
        return bytes(data)

    def copy(self, name: str, target: Path) -> None:
        """Write a member to a new file; the file is removed again if its digest is wrong."""
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            with open(descriptor, "wb") as file:
                for chunk in self._verified(name):
                    file.write(chunk)
        except BaseException:
            target.unlink()
            raise

    def verify(self) -> None:
        """Hold every member against its digest."""
        for name in self.manifest.members:
            for _ in self._verified(name):
                pass

    def start(self, name: str, size: int) -> bytes:
        """The first bytes of a member, not held against its digest."""
        entry = self._entries[name]
        self._file.seek(entry.offset)
        return self._file.read(min(size, entry.size))

    def _verified(self, name: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in self._chunks(self._entries[name]):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self.manifest.members[name].sha256:
            raise RefusedError(f"The member {name!r} is damaged: its SHA-256 is not the one in the manifest.")

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        left, position = entry.size, entry.offset
        while left:
            self._file.seek(position)
            chunk = self._file.read(min(CHUNK, left))
            if not chunk:
                raise RefusedError(f"It is cut off within the member {entry.name!r}.")
            yield chunk
            left, position = left - len(chunk), position + len(chunk)


@contextmanager
def open_archive(path: str | Path, limits: Limits | None = None) -> Iterator[Archive]:
    """Open an archive and check its members' names and sizes.

    Args:
        path: The file.
        limits: How much is read at most.

    Raises:
        RefusedError: If it is no archive; also, within the block, if a member that is read is damaged. The message begins with
            the path.
    """
    try:
        with _open_regular_file(Path(path).expanduser()) as file:
            yield Archive(file, limits or Limits())
    except RefusedError as error:
        raise RefusedError(f"{path}: {printable(str(error))}") from error.__cause__


def _open_regular_file(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise RefusedError(f"It cannot be opened: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RefusedError("It is no file.")
    return open(descriptor, "rb")
