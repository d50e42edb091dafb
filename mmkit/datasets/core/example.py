"""One example of a data set, and the matching of examples by their ids."""

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkit.constants import DATASET_INDEX_KEY, EXAMPLE_IDS_KEY, EXAMPLE_INDEX_KEY


class Example(OrderedDict[str, Any]):
    """What a data set knows of one example, by key; keys are attributes too, and nested mappings become examples.

    Keys are names and properties of modalities. ``example_index`` identifies the example in its data set, and
    ``dataset_index``, set by ``CombinedDataset``, the data set.

    Example:
        >>> example = Example({"example_index": 7, "rgb": "image", "box": {"x": 1}})
        >>> example.rgb, example.box.x
        ('image', 1)
    """

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, Mapping) and not isinstance(value, Example):
            value = Example(value)
        super().__setitem__(key, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"This example has no key {name!r}. It has: {', '.join(map(str, self)) or 'none'}.") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} is a method of examples; write example[{name!r}] to use it as a key.")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"This example has no key {name!r}. It has: {', '.join(map(str, self)) or 'none'}.")
        del self[name]

    def create_ids(self) -> None:
        """Set ``example_ids`` to the pair ``(dataset_index, example_index)``; warn, and leave it, if one is missing."""
        if EXAMPLE_INDEX_KEY in self and DATASET_INDEX_KEY in self:
            self[EXAMPLE_IDS_KEY] = (self[DATASET_INDEX_KEY], self[EXAMPLE_INDEX_KEY])
            return
        warnings.warn(
            "Cannot create `example_ids` without `example_index` and `dataset_index`. "
            f"This example has: {', '.join(map(str, self)) or 'no keys'}. The data set sets `example_index`; "
            "`CombinedDataset` sets `dataset_index`.",
            UserWarning,
            stacklevel=2,
        )


# Shapes: N rows of the first ids, M rows of the second, K matching pairs.
def find_matching_indices(first_example_ids: Tensor, second_example_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Find all pairs of rows with equal ids.

    Takes O((N + M) log(N + M) + K) time and O(N + M + K) memory.

    Args:
        first_example_ids: Integer tensor (N, 2) of ``[dataset_index, example_index]``.
        second_example_ids: Integer tensor (M, 2), likewise.

    Returns:
        The rows of the first and of the second ids, two ``LongTensor`` (K,), sorted by the row of the first, then by
        that of the second.

    Raises:
        TypeError: An argument is no tensor, or not of integers.
        ValueError: An argument is not of shape (N, 2).

    Example:
        >>> find_matching_indices(torch.tensor([[0, 1], [0, 2]]), torch.tensor([[0, 2], [0, 3], [0, 2]]))
        (tensor([1, 1]), tensor([0, 2]))
    """
    _check_ids(first_example_ids, "first_example_ids")
    _check_ids(second_example_ids, "second_example_ids")
    a_N, b_M = _scalar_ids(first_example_ids.long(), second_example_ids.long())
    if len(a_N) * len(b_M) <= 4096:  # sorting costs about ten small operations; this costs two
        rows_a, rows_b = (a_N[:, None] == b_M).nonzero(as_tuple=True)
        return rows_a, rows_b
    sorted_M, order_M = b_M.sort(stable=True)
    if torch.equal(a_N, b_M) and bool((sorted_M[1:] != sorted_M[:-1]).all()):
        rows_N = torch.arange(len(a_N), device=a_N.device)
        return rows_N, rows_N.clone()
    return _pairs(a_N, sorted_M, order_M)


def _pairs(a_N: Tensor, sorted_M: Tensor, order_M: Tensor) -> tuple[Tensor, Tensor]:
    """Expand, for every row of ``a_N``, the run of equal ids in ``sorted_M``."""
    start_N = torch.searchsorted(sorted_M, a_N)
    count_N = torch.searchsorted(sorted_M, a_N, right=True) - start_N
    rows_a_K = torch.repeat_interleave(count_N)
    first_pair_N = count_N.cumsum(0) - count_N
    position_K = torch.arange(len(rows_a_K), device=a_N.device) + (start_N - first_pair_N)[rows_a_K]
    return rows_a_K, order_M[position_K]


def _scalar_ids(a_N2: Tensor, b_M2: Tensor) -> tuple[Tensor, Tensor]:
    """Map equal pairs, and only those, to equal integers."""
    ids = torch.cat([a_N2, b_M2])
    if len(ids) > 0:
        low, high = (bound.tolist() for bound in torch.aminmax(ids, dim=0))
        if (high[0] - low[0] + 1) * (high[1] - low[1] + 1) >= 2**63:  # would overflow: number the distinct values first
            ids = torch.stack([torch.unique(column, return_inverse=True)[1] for column in ids.unbind(1)], dim=1)
            low, high = [0, 0], [0, len(ids)]
        ids = (ids[:, 0] - low[0]) * (high[1] - low[1] + 1) + (ids[:, 1] - low[1])
    return ids[: len(a_N2)], ids[len(a_N2) :]


def _check_ids(ids: Any, name: str) -> None:
    if not isinstance(ids, Tensor):
        raise TypeError(f"`{name}` must be a tensor of example ids, got {type(ids).__name__}.")
    if ids.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"`{name}` must hold integers up to 64 bits with a sign, got {ids.dtype}.")
    if ids.dim() != 2 or ids.size(1) != 2:
        raise ValueError(f"`{name}` must have shape (N, 2) for [dataset_index, example_index], got {tuple(ids.shape)}.")
