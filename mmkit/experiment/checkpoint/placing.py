"""Files and directories that appear complete or not at all, and clearing away what dead processes left of them.

All temporary names lie in the directory of the checkpoints and begin with a dot; they name the process that works on them.
"""

import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmkit.experiment.process import boot_id, host, namespace, start_of


logger = logging.getLogger(__name__)

LATEST = "LATEST"
# A process on another machine cannot be looked up. No save takes this long.
_FOREIGN_SECONDS = 24 * 3600
_TEMPORARY = re.compile(
    r"\.(?P<kind>writing|replaced|deleting)~(?P<host>\w+)~(?P<boot>\w+)~(?P<pid>\d+)~(?P<start>\d+)~(?P<name>.+)"
)


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A temporary directory that takes the place of ``path`` when the block ends, durably, and is removed when it fails.

    What stood at ``path`` is there until its successor is complete. If the process is killed between the two renames, it is
    found under its temporary name (:func:`original_name`).
    """
    folder = temporary(path.parent, "writing", secrets.token_hex(3))
    try:
        folder.mkdir()
        yield folder
        sync_directory(folder)
        _replace(path, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _replace(path: Path, folder: Path) -> None:
    aside = temporary(path.parent, "replaced", path.name) if os.path.lexists(path) else None
    if aside:
        remove(aside)  # of an earlier save of this process, which could not remove it
        path.rename(aside)
    try:
        folder.rename(path)
        sync_directory(path.parent)
    except BaseException:
        if aside and not path.exists():
            aside.rename(path)
        raise
    if aside:
        try:
            remove(aside)
        except OSError as error:  # its successor is there
            logger.warning("%s, which was replaced, cannot be deleted: %s", aside, error.strerror)


@contextmanager
def latest_to_be(path: Path) -> Iterator[None]:
    """Let ``LATEST`` name ``path`` when the block ends. What that takes on the disk is taken before."""
    pointer = temporary(path.parent, "writing", LATEST)
    try:
        with pointer.open("w") as file:
            file.write(path.name + "\n")
            file.flush()
            os.fsync(file.fileno())
        yield
        pointer.replace(path.parent / LATEST)
        sync_directory(path.parent)
    finally:
        pointer.unlink(missing_ok=True)


def latest_name(directory: Path) -> str | None:
    """What ``LATEST`` says; None if there is none."""
    try:
        raw = (directory / LATEST).read_bytes()[:1024]
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"({LATEST} cannot be read: {error.strerror})"
    return raw.decode(errors="replace").removesuffix("\n")


def take_away(path: Path) -> None:
    """Delete a checkpoint. It is renamed first, so that no half of it can be taken for one."""
    aside = temporary(path.parent, "deleting", path.name)
    path.rename(aside)
    remove(aside)


def remove(path: Path) -> None:
    """Delete a file, a link or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_orphans(directory: Path) -> None:
    """Remove what processes that are gone left half written, and put back what they were about to replace."""
    for entry in _temporaries(directory):
        if _is_alive(entry):
            continue
        name = original_name(entry.name)
        if name and not os.path.lexists(directory / name):
            entry.rename(directory / name)
        else:
            logger.info("Removing %s, which a killed process left behind.", entry)
            remove(entry)


def original_name(name: str) -> str | None:
    """``step-000123`` for the temporary name that it has while it is replaced; None for other names."""
    match = _TEMPORARY.fullmatch(name)
    return match["name"] if match and match["kind"] == "replaced" else None


def temporary(directory: Path, kind: str, name: str) -> Path:
    """A temporary name in ``directory`` that says which process uses it."""
    return directory / f".{kind}~{_host()}~{_boot()}~{os.getpid()}~{start_of(os.getpid())}~{name}"


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that cannot, have nothing to sync
            raise
    finally:
        os.close(descriptor)


def _temporaries(directory: Path) -> list[Path]:
    with os.scandir(directory) as entries:
        return [directory / entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]


def _is_alive(entry: Path) -> bool:
    match = _TEMPORARY.fullmatch(entry.name)
    assert match
    if match["host"] != _host():
        try:
            return time.time() - entry.lstat().st_mtime < _FOREIGN_SECONDS
        except FileNotFoundError:
            return True  # it was finished meanwhile
    return match["boot"] == _boot() and match["start"] == str(start_of(int(match["pid"])))


def _host() -> str:
    """Short names of the machine and, in containers, of where process numbers count: part of file names."""
    return hashlib.sha256(f"{host()} {namespace()}".encode()).hexdigest()[:8]


def _boot() -> str:
    return boot_id()[:8]
