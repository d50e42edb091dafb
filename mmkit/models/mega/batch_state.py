"""What a cache keeps of each row of a batch, and how rows are picked, repeated and copied."""

import copy
from collections.abc import Callable
from typing import Any, Self

from torch import Tensor


class BatchState:
    """An object whose tensors all have the batch as their first dimension."""

    def map_rows(self, change: Callable[[Tensor], Tensor]) -> None:
        """Replace every tensor, in attributes, lists, tuples and nested states, by ``change`` of it."""
        for name, value in vars(self).items():
            setattr(self, name, _mapped(value, change))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Cloning keeps the graph; the default refuses tensors that are not leaves.
        return _mapped(self, lambda tensor: tensor.clone())


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, change) for item in value)
    if isinstance(value, BatchState):
        value = copy.copy(value)
        value.map_rows(change)
    return value
