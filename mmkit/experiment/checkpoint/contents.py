"""From Lightning's dictionary to the members of a checkpoint, and back."""

import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mmkit.experiment.checkpoint.large_tensors import put_back, taken_out
from mmkit.experiment.checkpoint.manifest import (
    CONFIG,
    MANIFEST,
    MOMENTS,
    STATE,
    TRAINER,
    WEIGHTS,
    Manifest,
    Member,
    encode,
    new_hash,
)
from mmkit.experiment.checkpoint.placing import latest_to_be, placed, remove_orphans, sync_directory
from mmkit.experiment.checkpoint.storable import STATE_KEY, WEIGHTS_KEY
from mmkit.experiment.checkpoint.verification import damage_of, opened, read_manifest, refusal
from mmkit.experiment.checkpoint.weights import Writable, fits, read_weights, write_weights


Content = Callable[[Writable], Any]


def step_of(checkpoint: dict[str, Any]) -> int:
    """Optimizer steps that a checkpoint states."""
    return int((checkpoint.get(STATE_KEY) or {}).get("step", checkpoint.get("global_step", 0)))


def describe(checkpoint: dict[str, Any], mode: str | None, generation: int) -> Manifest:
    """The manifest without members."""
    state = checkpoint.get(STATE_KEY) or {}
    score = state.get("score")
    return Manifest(
        step=step_of(checkpoint),
        epoch=int(state.get("epoch", checkpoint.get("epoch", 0))),
        score=float(score) if score is not None and abs(score) < float("inf") else None,  # NaN and infinity are best of nothing
        monitor=state.get("monitor"),
        mode=mode,
        generation=generation,
        saved_at=time.time(),
    )


def write_checkpoint(
    checkpoint: dict[str, Any],
    path: Path,
    manifest: Manifest,
    config_yaml: str | None = None,
    becomes_latest: bool = True,
) -> None:
    """Write a checkpoint so that it is there completely and durably, or not at all; then ``LATEST`` names it.

    Args:
        checkpoint: What Lightning would save; tensors in host memory.
        path: Directory to make, or to replace.
        manifest: What :func:`describe` returned.
        config_yaml: Text for ``config.yaml``; none is written without.
        becomes_latest: Whether ``LATEST`` is to name it.

    Raises:
        OSError: The disk is full, read-only, …; what stood there before still does.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_directory(path.parent.parent)
    remove_orphans(path.parent)
    with latest_to_be(path) if becomes_latest else nullcontext(), placed(path) as folder:
        members = {name: _write(folder / name, content) for name, content in _contents(checkpoint, config_yaml).items()}
        manifest.members.update(members)
        _write(folder / MANIFEST, lambda file: file.write(encode(manifest)))


def _contents(checkpoint: dict[str, Any], config_yaml: str | None) -> dict[str, Content]:
    weights = checkpoint.get(WEIGHTS_KEY)
    weights = weights if isinstance(weights, dict) else {}
    tensors = {name: value for name, value in weights.items() if fits(name, value)}
    part, places, large = taken_out(_trainer_part(checkpoint, weights, set(tensors)))
    state = json.dumps(checkpoint.get(STATE_KEY, {}), indent=2).encode()
    contents: dict[str, Content] = {
        WEIGHTS: lambda file: write_weights(tensors, file),
        MOMENTS: lambda file: write_weights(large, file),
        TRAINER: lambda file: torch.save({**part, "places": places}, file),  # pyright: ignore[reportArgumentType]
        STATE: lambda file: file.write(state),
    }
    if config_yaml is not None:
        contents[CONFIG] = lambda file: file.write(config_yaml.encode())
    return contents


def _trainer_part(checkpoint: dict[str, Any], weights: dict[Any, Any], stored: set[str]) -> dict[str, Any]:
    """What the other members do not hold, and how to put them together again."""
    elsewhere = {STATE_KEY: None, **({WEIGHTS_KEY: None} if isinstance(checkpoint.get(WEIGHTS_KEY), dict) else {})}
    return {
        "checkpoint": {key: elsewhere.get(key, value) for key, value in checkpoint.items()},
        "weight_names": list(weights),
        "other_weights": {name: value for name, value in weights.items() if name not in stored},
        "weights_metadata": getattr(weights, "_metadata", None),  # versions of modules, by which they read older states
    }


def _write(path: Path, content: Content) -> Member:
    with path.open("xb") as file:
        hashing = _HashingWriter(file)
        try:
            content(hashing)
        except RuntimeError as error:  # what torch.save makes of a full disk
            raise hashing.error or error from None
        file.flush()
        os.fsync(file.fileno())
    return Member(hashing.size, hashing.digest.hexdigest())


class _HashingWriter:
    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.size = file, new_hash(), 0
        self.error: OSError | None = None

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        try:
            self.file.write(view)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(view)
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Asked for by torch.save."""


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Verify a checkpoint and read it.

    Args:
        path: Its directory.
        device: Where tensors go.

    Returns:
        What was given to :func:`write_checkpoint`.

    Raises:
        RefusedError: It is not as it was written.
    """
    members = read_manifest(path).members
    trainer = _read_trainer_part(path, members[TRAINER], device)
    state = _read_small(path, STATE, members[STATE])
    if CONFIG in members:
        _read_small(path, CONFIG, members[CONFIG])
    tensors, large = (read_weights(path, name, members[name]) for name in (WEIGHTS, MOMENTS))
    try:
        put_back(trainer, trainer["places"], {name: tensor.to(device) for name, tensor in large.items()})
        checkpoint = trainer["checkpoint"]
        if STATE_KEY in checkpoint:
            checkpoint[STATE_KEY] = json.loads(state)
        if checkpoint.get(WEIGHTS_KEY, ...) is None:
            checkpoint[WEIGHTS_KEY] = _weights(trainer, tensors, device)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise refusal(path, [f"its members do not fit together: {error!r}"]) from None
    return checkpoint


def _weights(trainer: dict[str, Any], tensors: dict[str, Tensor], device: torch.device | str) -> OrderedDict[str, Any]:
    moved = {id(tensor): tensor.to(device) for tensor in tensors.values()}  # once for all names
    values = {name: moved[id(tensor)] for name, tensor in tensors.items()} | trainer["other_weights"]
    weights = OrderedDict((name, values[name]) for name in trainer["weight_names"])
    if trainer["weights_metadata"] is not None:
        weights._metadata = trainer["weights_metadata"]  # pyright: ignore[reportAttributeAccessIssue]
    return weights


def _read_trainer_part(path: Path, member: Member, device: torch.device | str) -> dict[str, Any]:
    with opened(path / TRAINER) as file:
        if damage := damage_of(file, TRAINER, member):
            raise refusal(path, [damage])
        file.seek(0)
        try:
            return torch.load(file, map_location=device, weights_only=True)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # forged bytes can mean anything
            raise refusal(path, [f"{TRAINER} holds more than tensors and plain values: {reason_of(error)}"]) from None


def _read_small(path: Path, name: str, member: Member) -> bytes:
    with opened(path / name) as file:
        if damage := damage_of(file, name, member):
            raise refusal(path, [damage])
        file.seek(0)
        return file.readall()  # pyright: ignore[reportAttributeAccessIssue]


def reason_of(error: BaseException) -> str:
    """What torch.load minds, without its advice to trust the file."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"it names {refused[1]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "weights_only" not in line]
    return lines[0][:300] if lines else repr(error)[:300]
