"""The state of a task as safetensors: tensors that several names share are stored once."""

from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mmkit.archive.format import WEIGHTS
from mmkit.errors import RefusedError


def split_aliases(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors to store, and names of further tensors that are one of these, e.g. of tied weights.

    Raises:
        TypeError: If something in the state is no tensor.
    """
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[Any, str] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"The state {name!r} is a {type(tensor).__name__}; an archive holds tensors only.")
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in first:
            aliases[name] = first[place]
        else:
            tensors[name], first[place] = tensor, name
    return tensors, aliases


def write_weights(tensors: Mapping[str, Tensor]) -> bytes:
    """The text of a safetensors file; equal tensors give equal bytes."""
    copies: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in sorted(tensors.items()):
        copy = tensor.detach().cpu().contiguous()
        # safetensors refuses two tensors in one storage, which views of one tensor are
        copies[name] = copy.clone() if copy.untyped_storage().data_ptr() in storages else copy
        storages.add(copies[name].untyped_storage().data_ptr())
    return save(copies)


def read_weights(data: bytes, aliases: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors by name, those stored under another name included.

    Raises:
        RefusedError: If it is no safetensors, or an alias names no tensor.
    """
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise RefusedError(f"{WEIGHTS} cannot be read: {error}") from error
    for name, stored in aliases.items():
        if name in tensors or stored not in tensors:
            raise RefusedError(f"manifest.json: {name!r} cannot be another name of the tensor {stored!r}.")
    tensors |= {name: tensors[stored] for name, stored in aliases.items()}
    return dict(sorted(tensors.items()))


def match_dtypes(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give parameters and buffers the types that they were saved with."""
    own = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in own:
        if name in state and state[name].dtype != tensor.dtype:
            tensor.data = tensor.data.to(state[name].dtype)


def shape_mismatches(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Tensors whose shapes differ, with both shapes."""
    common = [name for name in state if name in own and own[name].shape != state[name].shape]
    return [f"{name} has the shape {tuple(state[name].shape)}, the task {tuple(own[name].shape)}" for name in common]


def load_state(task: nn.Module, state: dict[str, Tensor], strict: bool) -> tuple[list[str], list[str]]:
    """Put a whole state into a task.

    Returns:
        Names that are missing in the state, and names that have no place in the task.

    Raises:
        RefusedError: If shapes differ; with ``strict``, also if anything is missing or unexpected.
    """
    own = task.state_dict()
    missing, unexpected = [name for name in own if name not in state], [name for name in state if name not in own]
    if mismatches := shape_mismatches(own, state):
        raise RefusedError(f"The weights do not fit the task: {'; '.join(mismatches[:10])}.")
    if strict and (missing or unexpected):
        raise RefusedError(
            f"The weights do not fit the task. Missing in the file: {', '.join(missing[:10]) or 'none'}. Without a place in the "
            f"task: {', '.join(unexpected[:10]) or 'none'}. strict=False loads the others."
        )
    match_dtypes(task, state)
    with torch.no_grad():
        task.load_state_dict(state, strict=False)
    return missing, unexpected
