"""Large tensors out of a nested state and back, so that they are read, verified and placed in one pass over the bytes.

In a file of ``torch.save`` they can be verified only in a pass of their own, which takes a tenth of the time of loading.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from mmkit.experiment.checkpoint.snapshot import is_plain
from mmkit.experiment.checkpoint.weights import fits


LARGE_BYTES = 1 << 12
Place = tuple[list[Any], str]  # keys and indices that lead to a tensor, and its name in the file


def taken_out(state: Any) -> tuple[Any, list[Place], dict[str, Tensor]]:
    """Take large tensors out of dictionaries and lists; ``None`` stands in their places.

    Tensors that share memory with a different view of it stay, as only ``torch.save`` keeps that.

    Args:
        state: Nested containers; they are not changed.

    Returns:
        A copy without the tensors, where they were, and the tensors by name.
    """
    views = defaultdict(set)
    for tensor, view in _views(state, set(), None):
        views[tensor.untyped_storage().data_ptr()].add(view)
    places: list[Place] = []
    names: dict[int, str] = {}  # by address
    tensors: dict[str, Tensor] = {}
    copies: dict[int, Any] = {}

    def copied(value: Any, path: list[Any]) -> Any:
        if _is_large(value) and len(views[value.untyped_storage().data_ptr()]) == 1:
            name = names.setdefault(value.data_ptr(), _name(path, tensors))
            tensors[name] = value
            places.append((path, name))
            return None
        if type(value) not in (dict, OrderedDict, list):
            return value
        if id(value) in copies:
            return copies[id(value)]  # the places in it are known
        copies[id(value)] = copy = type(value)()
        if isinstance(value, list):
            copy.extend(copied(entry, [*path, number]) for number, entry in enumerate(value))
            return copy
        copy.update((key, copied(entry, [*path, key])) for key, entry in value.items())
        if isinstance(value, OrderedDict):
            vars(copy).update(vars(value))
        return copy

    return copied(state, []), places, tensors


def put_back(state: Any, places: list[Place], tensors: Mapping[str, Tensor]) -> None:
    """Undo :func:`taken_out`, in place.

    Raises:
        KeyError, IndexError, TypeError: The places are not those of ``state``.
    """
    for path, name in places:
        holder = state
        for key in path[:-1]:
            holder = holder[key]
        if holder[path[-1]] is not None:
            raise KeyError(path[-1])
        holder[path[-1]] = tensors[name]


def _is_large(value: Any) -> bool:
    if type(value) is not Tensor or not fits("tensor", value) or value.requires_grad or value.nbytes < LARGE_BYTES:
        return False
    return value.is_contiguous() and value.nbytes == value.untyped_storage().nbytes()


def _views(value: Any, seen: set[int], stays: str | None) -> Iterator[tuple[Tensor, Any]]:
    """Tensors, and what they are of their memory; those that cannot be taken out are another view than those that can."""
    if isinstance(value, Tensor):
        if is_plain(value):
            yield (
                value,
                (value.storage_offset(), value.shape, value.stride(), value.dtype, type(value), value.requires_grad, stays),
            )
    elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
        seen.add(id(value))
        if type(value) not in (dict, OrderedDict, list):
            stays = "in a container that is not changed"
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _views(entry, seen, stays)


def _name(path: list[Any], taken: Mapping[str, Tensor]) -> str:
    name = ".".join(map(str, path))
    free = name not in taken and name != "__metadata__"
    return name if free else f"{name}#{len(taken)}"  # the keys 1 and "1" look alike
