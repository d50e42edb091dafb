"""What an archive says about itself, checked against what it holds."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmkit.archive.format import (
    CONFIG,
    FORMAT,
    MANIFEST,
    VERSION,
    WEIGHTS,
    artifact_digest,
    is_reference,
    strict_json,
    unsafe_path,
)
from mmkit.errors import RefusedError


@dataclass(frozen=True)
class Member:
    """Size and digest of a member."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """A file or a folder that a task needs.

    Attributes:
        name: Its own name.
        folder: Whether it is a folder.
        files: Member by path within the folder; a file has one, under its name.
    """

    name: str
    folder: bool
    files: dict[str, str]


@dataclass(frozen=True)
class Registration:
    """A call of ``register_artifact``: who made it, under which key, for which artifact (None if the file was missing)."""

    owner: str
    config_path: str
    artifact: str | None


@dataclass
class Manifest:
    """The table of contents.

    Attributes:
        members: Size and digest of every member but the manifest.
        artifacts: Artifacts by reference, ``<sha256>-<name>``.
        registrations: What modules registered.
        aliases: Names of tensors that are stored under another name.
        withheld: Keys of the configuration whose secret values were left out.
        provenance: Where the archive comes from.
    """

    members: dict[str, Member] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    registrations: list[Registration] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    withheld: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The manifest's text; equal contents give equal bytes."""
        value = {
            "format": FORMAT,
            "version": VERSION,
            "provenance": self.provenance,
            "members": {name: vars(member) for name, member in self.members.items()},
            "artifacts": {reference: vars(artifact) for reference, artifact in sorted(self.artifacts.items())},
            "registrations": [vars(registration) for registration in self.registrations],
            "aliases": dict(sorted(self.aliases.items())),
            "withheld": self.withheld,
        }
        return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def folder_digest(digests: Mapping[str, str]) -> str:
    """Digest of a folder from those of its files, by path."""
    return hashlib.sha256(json.dumps(dict(sorted(digests.items()))).encode()).hexdigest()


def parse_manifest(data: bytes, sizes: Mapping[str, int]) -> Manifest:
    """Read a manifest and hold it against the members that are there.

    Args:
        data: The text.
        sizes: Sizes of all members but the manifest.

    Raises:
        RefusedError: If it is not the manifest of this file.
    """
    value = strict_json(data, MANIFEST)
    if value.get("format") != FORMAT:
        raise RefusedError(f"{MANIFEST} states the format {value.get('format')!r}, not {FORMAT!r}.")
    if value.get("version") != VERSION:
        raise RefusedError(f"The archive has version {value.get('version')!r}; this mmkit reads version {VERSION}.")
    members = {name: _member(name, entry) for name, entry in _object(value, "members").items()}
    _check_members(members, sizes)
    manifest = Manifest(
        members,
        {reference: _artifact(reference, entry, members) for reference, entry in _object(value, "artifacts").items()},
        [_registration(entry) for entry in _list(value, "registrations")],
        _texts(_object(value, "aliases"), "aliases"),
        [key for key in _list(value, "withheld") if isinstance(key, str)],
        _object(value, "provenance"),
    )
    _check_references(manifest)
    return manifest


def _object(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(value.get(key), dict):
        raise RefusedError(f"{MANIFEST}: {key!r} is missing or no object.")
    return value[key]


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(value.get(key), list):
        raise RefusedError(f"{MANIFEST}: {key!r} is missing or no list.")
    return value[key]


def _texts(value: dict[str, Any], key: str) -> dict[str, str]:
    if wrong := [name for name, text in value.items() if not isinstance(text, str)]:
        raise RefusedError(f"{MANIFEST}: {key}.{wrong[0]} is no text.")
    return value


def _member(name: str, entry: Any) -> Member:
    if name not in (CONFIG, WEIGHTS) and artifact_digest(name) is None:
        raise RefusedError(f"{MANIFEST} lists {name!r}, which is no name of a member.")
    if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
        raise RefusedError(f"{MANIFEST}: the entry of {name!r} does not consist of size and sha256.")
    size, digest = entry["size"], entry["sha256"]
    if type(size) is not int or size < 0 or not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise RefusedError(f"{MANIFEST}: size or sha256 of {name!r} is none.")
    if artifact_digest(name) not in (None, digest):
        raise RefusedError(f"{MANIFEST}: the digest of {name!r} is not the one in its name.")
    return Member(size, digest)


def _check_members(members: Mapping[str, Member], sizes: Mapping[str, int]) -> None:
    if absent := [name for name in (CONFIG, WEIGHTS, *members) if name not in sizes]:
        raise RefusedError(f"The member {absent[0]!r} is missing.")
    if unlisted := [name for name in sizes if name not in members]:
        raise RefusedError(f"The member {unlisted[0]!r} is not in the manifest.")
    for name, member in members.items():
        if member.size != sizes[name]:
            raise RefusedError(f"The member {name!r} has {sizes[name]:,} bytes; the manifest says {member.size:,}.")


def _artifact(reference: str, entry: Any, members: Mapping[str, Member]) -> Artifact:
    if not is_reference(reference) or not isinstance(entry, dict) or set(entry) != {"name", "folder", "files"}:
        raise RefusedError(f"{MANIFEST}: the artifact {reference!r} is not described as it should be.")
    name, folder, files = entry["name"], entry["folder"], entry["files"]
    if type(folder) is not bool or not isinstance(files, dict) or not files:
        raise RefusedError(f"{MANIFEST}: the artifact {reference!r} has no files.")
    for path in (name, *files):
        if (problem := unsafe_path(path)) is not None:
            raise RefusedError(f"{MANIFEST}: the path {path!r} of the artifact {reference!r} {problem}.")
    if "/" in name or (not folder and list(files) != [name]):
        raise RefusedError(f"{MANIFEST}: the artifact {reference!r} has the name {name!r} and the files {list(files)[:3]}.")
    _check_clashes(reference, list(files))
    for member in files.values():
        if not isinstance(member, str) or member not in members or artifact_digest(member) is None:
            raise RefusedError(f"{MANIFEST}: the artifact {reference!r} names {member!r}, which is no member of its kind.")
    digests = {path: members[member].sha256 for path, member in files.items()}
    if (folder_digest(digests) if folder else digests[name]) != reference[:64]:
        raise RefusedError(f"{MANIFEST}: the artifact {reference!r} holds other files than its digest says.")
    return Artifact(name, folder, files)


def _check_clashes(reference: str, paths: list[str]) -> None:
    folders = {path.casefold()[:i] for path in paths for i, letter in enumerate(path.casefold()) if letter == "/"}
    folded = [path.casefold() for path in paths]
    if len(set(folded)) != len(folded) or folders & set(folded):
        raise RefusedError(f"{MANIFEST}: two paths of the artifact {reference!r} clash.")


def _registration(entry: Any) -> Registration:
    if not isinstance(entry, dict) or set(entry) != {"owner", "config_path", "artifact"}:
        raise RefusedError(f"{MANIFEST}: a registration does not consist of owner, config_path and artifact.")
    if not isinstance(entry["owner"], str) or not isinstance(entry["config_path"], str):
        raise RefusedError(f"{MANIFEST}: owner or config_path of a registration is no text.")
    return Registration(**entry)


def _check_references(manifest: Manifest) -> None:
    for registration in manifest.registrations:
        if registration.artifact is not None and registration.artifact not in manifest.artifacts:
            raise RefusedError(f"{MANIFEST}: {registration.config_path!r} names the artifact {registration.artifact!r}: unknown.")
    used = {member for artifact in manifest.artifacts.values() for member in artifact.files.values()}
    if idle := [name for name in manifest.members if artifact_digest(name) and name not in used]:
        raise RefusedError(f"The member {idle[0]!r} belongs to no artifact.")
