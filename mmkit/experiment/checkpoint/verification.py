"""Whether a checkpoint is what was written: its names, kinds, sizes and digests against its manifest."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmkit.errors import RefusedError
from mmkit.experiment.checkpoint import manifest as manifests
from mmkit.experiment.checkpoint.manifest import MANIFEST, Manifest, Member, new_hash, step_in_name


CHUNK_BYTES = 1 << 18  # what was just read is hashed from the second-level cache, twice as fast as with 1 << 20


def verify(path: str | os.PathLike[str]) -> Manifest:
    """Hold every member of a checkpoint against the manifest.

    Args:
        path: Directory of the checkpoint.

    Returns:
        Its manifest.

    Raises:
        RefusedError: It is not a checkpoint, or not as it was written; says what is wrong with which member.
    """
    path = Path(path)
    manifest = read_manifest(path)
    problems = [problem for name in manifest.members if (problem := _damage(path, name, manifest.members[name]))]
    if problems:
        raise refusal(path, problems)
    return manifest


def problem_of(path: Path, thorough: bool = True) -> str | None:
    """What is wrong with a checkpoint, or None; without digests if not ``thorough``."""
    try:
        (verify if thorough else read_manifest)(path)
    except RefusedError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def read_manifest(path: Path) -> Manifest:
    """Read the manifest and hold names, kinds and sizes of the members against it, without reading them.

    Raises:
        RefusedError: Something is missing, foreign, a link, or of another size.
    """
    entries = _entries(path)
    manifest = decoded_manifest(path, entries)
    problems = list(_wrong_entries(entries, manifest))
    named_step = step_in_name(path.name)
    if named_step is not None and named_step != manifest.step:
        problems.append(f"it holds step {manifest.step}, so it is another checkpoint under this name")
    if problems:
        raise refusal(path, problems)
    return manifest


def decoded_manifest(path: Path, entries: dict[str, os.stat_result] | None = None) -> Manifest:
    """The manifest alone, whatever became of the members.

    Raises:
        RefusedError: It is missing or damaged.
    """
    kinds = _entries(path) if entries is None else entries
    if MANIFEST not in kinds:
        raise refusal(path, ["it is not a checkpoint: it has no manifest.json"])
    if not stat.S_ISREG(kinds[MANIFEST].st_mode) or kinds[MANIFEST].st_size > manifests.MAX_MANIFEST_BYTES:
        raise refusal(path, ["manifest.json is not a small file"])
    try:
        return manifests.decode((path / MANIFEST).read_bytes())
    except (ValueError, OSError) as error:
        raise refusal(path, [str(error)]) from None


def refusal(path: Path, problems: list[str]) -> RefusedError:
    """The error that names a checkpoint and what is wrong with it."""
    return RefusedError(f"{path}: {'; '.join(problems)}")


def _entries(path: Path) -> dict[str, os.stat_result]:
    try:
        with os.scandir(path) as entries:
            return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except FileNotFoundError:
        raise refusal(path, ["there is no such checkpoint"]) from None
    except NotADirectoryError:
        raise refusal(path, ["it is not a checkpoint: it is not a directory"]) from None
    except OSError as error:
        raise refusal(path, [f"it cannot be read: {error.strerror}"]) from None


def _wrong_entries(entries: dict[str, os.stat_result], manifest: Manifest) -> Iterator[str]:
    for name, member in manifest.members.items():
        entry = entries.get(name)
        if entry is None:
            yield f"{name} is missing"
        elif stat.S_ISLNK(entry.st_mode):
            yield f"{name} is a symbolic link"
        elif not stat.S_ISREG(entry.st_mode):
            yield f"{name} is not a file"
        elif entry.st_size != member.size:
            yield f"{name} has {entry.st_size:,} bytes instead of {member.size:,}"
    for name in sorted(entries.keys() - manifest.members.keys() - {MANIFEST}):
        yield f"{name!r} does not belong to it"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a member for reading, never through a link, and without a buffer, for reads of whole chunks."""
    try:
        file = open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW))  # noqa: SIM115
    except OSError as error:
        raise refusal(path.parent, [f"{path.name} cannot be read: {error.strerror}"]) from None
    with file:
        yield file  # pyright: ignore[reportReturnType]


def digest_of(file: BinaryIO) -> str:
    """Digest of the rest of a file."""
    buffer = bytearray(CHUNK_BYTES)
    view, digest = memoryview(buffer), new_hash()
    while count := file.readinto(buffer):  # pyright: ignore[reportAttributeAccessIssue]
        digest.update(view[:count])
    return digest.hexdigest()


def damage_of(file: BinaryIO, name: str, member: Member) -> str | None:
    """What is wrong with the bytes of an open member, or None."""
    try:
        digest = digest_of(file)
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return None if digest == member.digest else f"{name} is damaged: it does not have the digest that the manifest states"


def _damage(path: Path, name: str, member: Member) -> str | None:
    with opened(path / name) as file:
        return damage_of(file, name, member)
