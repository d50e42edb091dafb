"""The format of an archive: names, limits, and JSON that is read strictly.

An archive is an uncompressed tar::

    manifest.json                     what the other members are: sizes, digests, artifacts, tied tensors, provenance
    config.yaml                       the configuration of the task
    weights.safetensors               its state; tensors that several names share are stored once
    artifacts/<sha256>-<name>         files that the task needs, e.g. a vocabulary
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from mmkit.errors import RefusedError


FORMAT, VERSION = "mmkit-archive", 1
SUFFIX = ".mmkit"
MANIFEST, CONFIG, WEIGHTS = "manifest.json", "config.yaml", "weights.safetensors"
SCHEME = "mmkit:"  # a value of the configuration that names an artifact
MAX_NAME = 35  # what a tar header has room for behind "artifacts/<sha256>-"

_MEMBER = re.compile(rf"artifacts/([0-9a-f]{{64}})-([A-Za-z0-9._-]{{1,{MAX_NAME}}})")
_REFERENCE = re.compile(rf"([0-9a-f]{{64}})-([A-Za-z0-9._-]{{1,{MAX_NAME}}})")
_FORBIDDEN = frozenset('/\\:*?"<>|')


@dataclass(frozen=True)
class Limits:
    """How much of an archive is read at most.

    Attributes:
        members: Number of members.
        member_bytes: Size of a member.
        total_bytes: Size of all.
        manifest_bytes: Size of the manifest.
        config_bytes: Size of the configuration.
    """

    members: int = 4096
    member_bytes: int = 2**37
    total_bytes: int = 2**38
    manifest_bytes: int = 4 * 2**20
    config_bytes: int = 2**20


def artifact_digest(member: str) -> str | None:
    """The digest in a member's name; None if it is no name of an artifact."""
    match = _MEMBER.fullmatch(member)
    return match.group(1) if match else None


def is_reference(reference: Any) -> bool:
    """Whether this is ``<sha256>-<name>``."""
    return isinstance(reference, str) and _REFERENCE.fullmatch(reference) is not None


def stored_name(name: str) -> str:
    """A file's name as members and references show it: ASCII and short; the suffix is kept."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name) or "_"
    if len(plain) <= MAX_NAME:
        return plain
    suffix = re.search(r"(\.[A-Za-z0-9]{1,11})?\.[A-Za-z0-9]{1,11}$", plain)
    ending = suffix.group() if suffix else ""
    return plain[: MAX_NAME - len(ending)] + ending


def unsafe_path(path: Any) -> str | None:
    """What is wrong with a relative path of a file in an artifact; None if nothing is."""
    if not isinstance(path, str) or not 0 < len(path.encode("utf-8", "replace")) <= 1024:
        return "is no text of 1 to 1024 bytes"
    if unicodedata.normalize("NFC", path) != path or not path.isprintable():
        return "holds characters that are not printed as they are"
    for part in path.split("/"):
        if part in ("", ".", "..") or part != part.strip() or len(part.encode()) > 255 or _FORBIDDEN & set(part):
            return f"has the part {part!r}"
    return None


def printable(text: str) -> str:
    """A text from a file without characters that would steer a terminal; line ends stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


def strict_json(data: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object: UTF-8, no key twice, no NaN.

    Args:
        data: The text.
        what: What it is, for the error.

    Raises:
        RefusedError: If it is anything else.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{what} cannot be read: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise RefusedError(f"{what} holds a {type(value).__name__}, not an object.")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return result


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
