"""The members of a checkpoint's directory, held against its manifest."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit.archive.format import MANIFEST, strict_json
from mmkit.errors import RefusedError


@dataclass(frozen=True)
class CheckpointMember:
    """Size and digest of a file, and the function that made the digest."""

    size: int
    digest: str
    hash: str


def read_checkpoint_manifest(path: Path) -> tuple[dict[str, CheckpointMember], dict[str, Any]]:
    """Members by name, and what else the manifest says.

    Raises:
        RefusedError: If the directory has no manifest that lists them.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise RefusedError(f"{path} is no checkpoint: there is no {MANIFEST}.")
    value = strict_json(file.read_bytes(), str(file))
    entries, hash_name = value.pop("members", None), value.pop("hash", "sha256")
    if not isinstance(entries, dict) or not entries:
        raise RefusedError(f"{file} lists no members.")
    if hash_name not in _HASHES:
        raise RefusedError(f"{file} has digests made by {hash_name!r}; known: {', '.join(_HASHES)}.")
    members = {name: _member(file, name, entry, hash_name) for name, entry in entries.items()}
    return members, {name: item for name, item in value.items() if name != "digest"}


def problem_of_member(path: Path, member: CheckpointMember) -> str | None:
    """What is wrong with a member of a checkpoint; None if nothing is."""
    if path.is_symlink() or not path.is_file():
        return f"{path} is missing, or no file."
    if path.stat().st_size != member.size:
        return f"{path} has {path.stat().st_size:,} bytes; the manifest says {member.size:,}."
    digest = _HASHES[member.hash]()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return None if digest.hexdigest() == member.digest else f"{path} is damaged: its digest is not the one in the manifest."


def _member(file: Path, name: str, entry: Any, hash_name: str) -> CheckpointMember:
    if Path(name).name != name or not isinstance(entry, dict):
        raise RefusedError(f"{file} lists {name!r}, which is no name of a file.")
    size, digest = entry.get("size"), entry.get("digest")
    if type(size) is not int or not isinstance(digest, str):
        raise RefusedError(f"{file} does not state size and digest of {name!r}.")
    return CheckpointMember(size, digest, hash_name)


def _xxh3() -> Any:
    import xxhash

    return xxhash.xxh3_128()


_HASHES: dict[str, Callable[[], Any]] = {"sha256": hashlib.sha256, "xxh3-128": _xxh3}
