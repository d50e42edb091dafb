"""Weights out of a checkpoint into one plain safetensors file, and back."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.checkpoint.contents import read_checkpoint, write_checkpoint
from mmkit.experiment.checkpoint.generations import next_generation
from mmkit.experiment.checkpoint.manifest import CONFIG, step_in_name
from mmkit.experiment.checkpoint.placing import sync_directory
from mmkit.experiment.checkpoint.storable import WEIGHTS_KEY
from mmkit.experiment.checkpoint.verification import read_manifest
from mmkit.experiment.checkpoint.weights import fits, write_weights


def export_weights(checkpoint: Path, file: Path, prefix: str = "") -> tuple[int, list[str]]:
    """Write the weights of a checkpoint into a safetensors file. Tensors that are shared are stored once.

    Args:
        checkpoint: Directory of the checkpoint.
        file: The file to write; what is there is replaced at once.
        prefix: Only weights whose names begin so are taken, without it.

    Returns:
        How many names were written, and the names of entries that the format does not hold.

    Raises:
        RefusedError: The checkpoint cannot be trusted.
        UsageError: No weight has that prefix.
    """
    weights = _weights(read_checkpoint(checkpoint), checkpoint)
    chosen = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if not chosen:
        raise UsageError(f"--prefix {prefix}: no weight of {checkpoint} begins so. They begin with {_beginnings(weights)}.")
    tensors = {name: value for name, value in chosen.items() if fits(name, value)}
    _write_at_once(file, lambda opened: write_weights(tensors, opened))
    return len(tensors), [name for name in chosen if name not in tensors]


def import_weights(checkpoint: Path, file: Path, target: Path, prefix: str = "") -> int:
    """Make a checkpoint from another one and the weights in a safetensors file.

    Args:
        checkpoint: Gives everything but the weights: the state of optimizer and loops, and the configuration.
        file: A safetensors file; its names, with ``prefix`` before them, types and shapes are those of the checkpoint.
        target: Directory of the new checkpoint; it must not exist.
        prefix: What stands before the names in the checkpoint; weights without it are kept.

    Returns:
        How many names were replaced.

    Raises:
        RefusedError: The checkpoint cannot be trusted, or the file does not fit it.
        UsageError: ``target`` exists, or has the name of another step.
    """
    manifest = read_manifest(checkpoint)
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already; name a directory that does not.")
    if step_in_name(target.name) not in (None, manifest.step):
        raise UsageError(
            f"{target}: the checkpoint is of step {manifest.step}; call it step-{manifest.step:06d}, or something else."
        )
    content = read_checkpoint(checkpoint)
    weights = _weights(content, checkpoint)
    replaced = _fitted(weights, {prefix + name: tensor for name, tensor in _read(file).items()}, prefix, file)
    for name, tensor in replaced.items():
        weights[name] = tensor
    config = (checkpoint / CONFIG).read_text() if CONFIG in manifest.members else None
    generation = next_generation(target.absolute().parent)
    fresh = replace(manifest, members={}, saved_at=time.time(), generation=generation, score=None)  # not measured with these
    write_checkpoint(content, target.absolute(), fresh, config, becomes_latest=False)
    return len(replaced)


def _weights(checkpoint: Mapping[str, Any], path: Path) -> OrderedDict[str, Any]:
    weights = checkpoint.get(WEIGHTS_KEY)
    if not isinstance(weights, OrderedDict):
        raise RefusedError(f"{path}: it has no weights")
    return weights


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise RefusedError(f"{file}: it is not a readable safetensors file: {error}") from None


def _fitted(weights: Mapping[str, Any], given: Mapping[str, Tensor], prefix: str, file: Path) -> dict[str, Tensor]:
    """The given tensors under all names that they have in the checkpoint, where one may be stored for several."""
    wanted = {name: value for name, value in weights.items() if name.startswith(prefix) and fits(name, value)}
    by_memory = {id(wanted[name]): tensor for name, tensor in given.items() if name in wanted}
    fitted = {name: given[name] if name in given else by_memory.get(id(value)) for name, value in wanted.items()}
    problems = [f"{name} is missing" for name, tensor in fitted.items() if tensor is None]
    problems += [f"{name} is not in the checkpoint" for name in given if name not in wanted]
    found = {name: tensor for name, tensor in fitted.items() if tensor is not None}
    for name, tensor in found.items():
        if (tensor.dtype, tensor.shape) != (wanted[name].dtype, wanted[name].shape):
            problems.append(f"{name} is {_kind(tensor)} instead of {_kind(wanted[name])}")
    if problems:
        more = f"\n  … and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise RefusedError(f"{file} does not fit the checkpoint:\n  " + "\n  ".join(problems[:10]) + more)
    return found


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"


def _beginnings(weights: Mapping[str, Any]) -> str:
    return ", ".join(sorted({name.split(".")[0] for name in weights})[:10])


def _write_at_once(path: Path, content: Callable[[BinaryIO], Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            content(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.absolute().parent)
    finally:
        partial.unlink(missing_ok=True)
