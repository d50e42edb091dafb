"""Whether a checkpoint can be stored so that loading it executes nothing."""

import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn

from mmkit.errors import UsageError


STATE_KEY = "mmkit_state"  # its value becomes state.json
WEIGHTS_KEY = "state_dict"

_PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)
# Read by LightningModule.load_from_checkpoint only, which reads no directories; config.yaml tells the same.
_HYPER_PARAMETERS = tuple(
    key
    for owner in (LightningModule, LightningDataModule)
    for key in (owner.CHECKPOINT_HYPER_PARAMS_KEY, owner.CHECKPOINT_HYPER_PARAMS_NAME, owner.CHECKPOINT_HYPER_PARAMS_TYPE)
)
_NAMED = 10  # of the values that cannot be stored


def check_storable(checkpoint: Mapping[str, Any]) -> None:
    """Raise if a checkpoint holds something that ``torch.load(weights_only=True)`` or JSON would not give back.

    Hyper-parameters that Lightning adds are not looked at; they are left out where they cannot be stored.

    Args:
        checkpoint: What Lightning would save.

    Raises:
        UsageError: Names every such value by its path, e.g. ``callbacks.MyCallback.state.x is a numpy.ndarray``.
    """
    problems = []
    for key, value in checkpoint.items():
        if key not in _HYPER_PARAMETERS:
            problems += _not_json(value, key) if key == STATE_KEY else _not_loadable(value, key, set())
    if problems:
        more = f"\n  … and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise UsageError(
            "The checkpoint would hold what cannot be stored so that loading it is safe:\n  "
            + "\n  ".join(problems[:_NAMED])
            + f"{more}\nWhat can: numbers, strings, tensors, and lists, tuples, sets and dictionaries of them. Return these from "
            "state_dict() or on_save_checkpoint()."
        )


def without_unstorable_hyper_parameters(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint, less Lightning's hyper-parameters if they are objects."""
    return {
        key: value
        for key, value in checkpoint.items()
        if key not in _HYPER_PARAMETERS or not any(_not_loadable(value, key, set()))
    }


def _not_loadable(value: Any, path: str, seen: set[int]) -> Iterator[str]:
    kind = type(value)
    if kind in _PLAIN:
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if kind in (dict, OrderedDict):
        for key, entry in value.items():
            yield from _not_loadable(key, f"the key {key!r} of {path}", seen)
            yield from _not_loadable(entry, f"{path}.{key}", seen)
        yield from (problem for name, entry in _attributes(value) for problem in _not_loadable(entry, f"{path}.{name}", seen))
    elif kind in (list, tuple, set):
        for number, entry in enumerate(value):
            yield from _not_loadable(entry, f"{path}[{number}]", seen)
    elif kind in (Tensor, nn.Parameter) and value.layout is torch.strided and not value.is_quantized:
        if value.is_meta:
            yield f"{path} is a tensor on the meta device, which has no values"
    elif not _survives(value):  # tensors of other kinds, and types that the user has declared safe
        yield f"{path} is a {_name(kind)}"


def _attributes(value: dict[Any, Any]) -> list[tuple[str, Any]]:
    return list(vars(value).items()) if isinstance(value, OrderedDict) else []  # a state dict has _metadata


def _survives(value: Any) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception:  # reduction methods of any class run here
        return False
    return True


def _not_json(value: Any, path: str) -> Iterator[str]:
    if type(value) in (str, int, float, bool, type(None)):
        return
    if type(value) is dict:
        for key, entry in value.items():
            if type(key) is not str:
                yield f"the key {key!r} of {path} is a {_name(type(key))}; {path} goes into state.json, where keys are strings"
            yield from _not_json(entry, f"{path}.{key}")
    elif type(value) in (list, tuple):
        for number, entry in enumerate(value):
            yield from _not_json(entry, f"{path}[{number}]")
    else:
        yield f"{path} is a {_name(type(value))}, which JSON does not have"


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
