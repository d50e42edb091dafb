"""Writing a file whole or not at all."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from mmkit.errors import MMKitError


def write_atomically(path: Path, chunks: Iterable[bytes], size: int) -> None:
    """Write to a temporary name in the same folder, sync, and rename.

    Args:
        path: Where the file is to be; what stood there is replaced.
        chunks: Its contents.
        size: Their bytes, for the error.

    Raises:
        MMKitError: If it cannot be written; what stood there is as it was, and nothing else is left.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise MMKitError(f"{path} ({size:,} bytes) cannot be written: {error.strerror or error}.") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
