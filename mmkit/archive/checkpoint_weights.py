"""The weights in a checkpoint: a directory with a manifest, a file of Lightning's, or plain safetensors."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmkit.archive.format import MANIFEST
from mmkit.archive.members import problem_of_member, read_checkpoint_manifest
from mmkit.errors import RefusedError


MODEL = "model.safetensors"


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Args:
        path: A directory, a file ``.safetensors``, or a file of ``torch.save``, which is loaded with ``weights_only=True``.

    Raises:
        RefusedError: If it is damaged or holds anything but tensors and plain data.
    """
    if path.is_dir():
        _check_directory(path)
        path = path / MODEL
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise RefusedError(f"{path} cannot be read as weights: {str(error).strip().splitlines()[0][:200]}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else None
    if state is None or not all(isinstance(value, Tensor) for value in state.values()):
        raise RefusedError(f"{path} holds no state: a mapping of names to tensors, or Lightning's with the key state_dict.")
    return dict(state)


def _check_directory(path: Path) -> None:
    members, _ = read_checkpoint_manifest(path)
    if MODEL not in members:
        raise RefusedError(f"{path / MANIFEST} does not list {MODEL}.")
    if (problem := problem_of_member(path / MODEL, members[MODEL])) is not None:
        raise RefusedError(problem)
