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
            raise AttributeError(self._missing(name)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} is a method of examples; write example[{name!r}] to use it as a key.")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(self._missing(name))
        del self[name]

    def create_ids(self) -> None:
        """Set ``example_ids`` to the pair ``(dataset_index, example_index)``; warn, and leave it, if one is missing."""
        if EXAMPLE_INDEX_KEY in self and DATASET_INDEX_KEY in self:
            self[EXAMPLE_IDS_KEY] = (self[DATASET_INDEX_KEY], self[EXAMPLE_INDEX_KEY])
            return
        warnings.warn(
            "Cannot create `example_ids` without `example_index` and `dataset_index`. "
            f"This example has: {', '.join(str(key) for key in self) or 'no keys'}. The data set sets `example_index`; "
            "`CombinedDataset` sets `dataset_index`.",
            UserWarning,
            stacklevel=2,
        )

    def _missing(self, name: str) -> str:
        return f"This example has no key {name!r}. It has: {', '.join(str(key) for key in self) or 'none'}."


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
    a_N2, b_M2 = first_example_ids.long(), second_example_ids.long()
    if len(a_N2) * len(b_M2) <= 4096:  # so few comparisons cost less than the steps below
        equal_NM = (a_N2[:, None, 0] == b_M2[:, 0]) & (a_N2[:, None, 1] == b_M2[:, 1])
        rows_a, rows_b = equal_NM.nonzero(as_tuple=True)
        return rows_a, rows_b
    sorted_M, order_M = _hashed(b_M2).sort(stable=True)
    if torch.equal(a_N2, b_M2) and bool((sorted_M[1:] != sorted_M[:-1]).all()):
        return torch.arange(len(a_N2), device=a_N2.device), torch.arange(len(a_N2), device=a_N2.device)
    rows_a_K, rows_b_K = _equal_pairs(_hashed(a_N2), sorted_M, order_M)
    same_K = (a_N2[rows_a_K] == b_M2[rows_b_K]).all(1)
    return (rows_a_K, rows_b_K) if bool(same_K.all()) else (rows_a_K[same_K], rows_b_K[same_K])


def _hashed(ids_N2: Tensor) -> Tensor:
    """One integer per row, modulo 2**64; rows with equal hashes are still compared."""
    return ids_N2[:, 0] * -7046029254386353131 + ids_N2[:, 1]  # 2**64 / golden ratio: neighbours fall far apart


def _equal_pairs(a_N: Tensor, sorted_M: Tensor, order_M: Tensor) -> tuple[Tensor, Tensor]:
    """Expand, for every entry of ``a_N``, the run of equal entries in ``sorted_M``."""
    values_U, size_U = torch.unique_consecutive(sorted_M, return_counts=True)
    run_N = torch.searchsorted(values_U, a_N).clamp_(max=len(values_U) - 1)
    count_N = size_U[run_N] * (values_U[run_N] == a_N)
    start_N = (size_U.cumsum(0) - size_U)[run_N]
    rows_a_K = torch.repeat_interleave(count_N)
    shift_N = start_N - (count_N.cumsum(0) - count_N)  # from the number of a pair to its place in the sorted order
    return rows_a_K, order_M[torch.arange(len(rows_a_K), device=a_N.device) + shift_N[rows_a_K]]


def _check_ids(ids: Any, name: str) -> None:
    if not isinstance(ids, Tensor):
        raise TypeError(f"`{name}` must be a tensor of example ids, got {type(ids).__name__}.")
    if ids.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"`{name}` must hold integers up to 64 bits with a sign, got {ids.dtype}.")
    if ids.dim() != 2 or ids.size(1) != 2:
        raise ValueError(f"`{name}` must have shape (N, 2) for [dataset_index, example_index], got {tuple(ids.shape)}.")
