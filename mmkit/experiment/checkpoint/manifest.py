"""What a checkpoint consists of: the names of its members, and the manifest with their sizes and digests."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import xxhash

import mmkit


WEIGHTS, MOMENTS, TRAINER = "model.safetensors", "trainer.safetensors", "trainer.pt"
STATE, CONFIG, MANIFEST = "state.json", "config.yaml", "manifest.json"
REQUIRED = (WEIGHTS, MOMENTS, TRAINER, STATE)
MEMBERS = (*REQUIRED, CONFIG)

FORMAT, VERSION = "mmkit-checkpoint", 1
MAX_MANIFEST_BYTES = 1 << 20
_HASH = "xxh3-128"
_STEP_NAME = re.compile(r"step-(\d+)")

# Digests are there for accidents: bits that flip, writes that break off, files that are mixed up. Against intent no digest beside
# the file helps, whatever its strength, because who changes a member can change the manifest, too; that nothing in a checkpoint
# is executed does not rest on it. So speed decides: 481 MB take 0.05 s with XXH3 and 0.4 s with SHA-256 (on a processor with
# instructions for it; otherwise 1 s), and reading them 0.4 s.
new_hash: Callable[[], "xxhash.xxh3_128"] = xxhash.xxh3_128


@dataclass(frozen=True)
class Member:
    """Size in bytes and digest of a file."""

    size: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes:
        step: Optimizer steps made.
        epoch: Epoch that the step belongs to.
        score: Value of the monitored metric; None if it was not measured, or not finite.
        monitor: Name of that metric.
        mode: Whether the ``"min"`` or the ``"max"`` of it is best; None if nobody said.
        generation: Counts the saves into a directory; larger is later.
        saved_at: Seconds since 1970.
        members: Size and digest of every member by name.
        mmkit_version: Version that wrote it.
    """

    step: int
    epoch: int
    score: float | None
    monitor: str | None
    mode: str | None
    generation: int
    saved_at: float
    members: dict[str, Member] = field(default_factory=dict)
    mmkit_version: str = mmkit.__version__

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(member.size for member in self.members.values())


def step_in_name(name: str) -> int | None:
    """The number in ``step-000123``; None for other names."""
    match = _STEP_NAME.fullmatch(name)
    return int(match[1]) if match else None


def encode(manifest: Manifest) -> bytes:
    """The bytes of ``manifest.json``, with a digest of their own."""
    return _canonical({"format": FORMAT, "version": VERSION, "hash": _HASH, **asdict(manifest)})


def decode(raw: bytes) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        ValueError: It is damaged, of a later format, or something else.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("manifest.json is damaged: it is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"manifest.json is not one of a checkpoint: it does not say format={FORMAT!r}")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ValueError(f"it has format version {version}, and this mmkit reads up to {VERSION}; a later mmkit wrote it")
    # Comparing bytes finds every change, also those that read the same, such as 1e-5 and 1E-5.
    if raw != _canonical({name: value for name, value in content.items() if name != "digest"}):
        raise ValueError("manifest.json is damaged or was edited: it does not have the digest that it states")
    return _typed(content)


def _canonical(content: Mapping[str, Any]) -> bytes:
    digest = new_hash()
    digest.update(json.dumps(content, sort_keys=True).encode())
    return (json.dumps({**content, "digest": digest.hexdigest()}, indent=2, sort_keys=True) + "\n").encode()


# Types of the fields; a manifest with the right digest and others was made up.
_TYPES: dict[str, tuple[type, ...]] = {
    "step": (int,),
    "epoch": (int,),
    "score": (int, float, type(None)),
    "monitor": (str, type(None)),
    "mode": (str, type(None)),
    "generation": (int,),
    "saved_at": (int, float),
    "mmkit_version": (str,),
}


def _typed(content: dict[str, Any]) -> Manifest:
    members = content.get("members")
    wrong = [name for name, types in _TYPES.items() if type(content.get(name, ...)) not in types]
    if wrong or not isinstance(members, dict) or content.get("version") != VERSION or content.get("hash") != _HASH:
        raise ValueError(
            f"manifest.json does not have the fields of version {VERSION}: see {', '.join(wrong) or 'members, hash'}"
        )
    unknown = sorted(set(members) - set(MEMBERS))
    if unknown:
        raise ValueError(f"manifest.json names {', '.join(map(repr, unknown))}; a checkpoint has {', '.join(MEMBERS)}")
    entries = {name: Member(**entry) if _is_member(entry) else None for name, entry in members.items()}
    missing = [name for name in REQUIRED if not entries.get(name)]
    if missing or None in entries.values():
        raise ValueError(f"manifest.json does not state size and digest of {', '.join(missing) or 'every member'}")
    return Manifest(**{name: content[name] for name in _TYPES}, members=entries)  # pyright: ignore[reportArgumentType]


def _is_member(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"size", "digest"}:
        return False
    return type(entry["size"]) is int and entry["size"] >= 0 and isinstance(entry["digest"], str)
