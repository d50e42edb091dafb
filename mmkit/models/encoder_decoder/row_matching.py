"""Which rows of one modality belong to which examples of the batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkit.constants import DATASET_INDEX_KEY, EXAMPLE_IDS_KEY, EXAMPLE_INDEX_KEY


# Shapes: B rows of the batch, M rows of a modality, S positions, H hidden size.


def batch_ids(inputs: Mapping[str, Any], modality: str) -> Tensor | None:
    """Ids (B, 2) of the rows that a batch has: those of ``modality``, or without it of all examples; None if it has no ids."""
    if EXAMPLE_IDS_KEY not in inputs:
        return None
    ids = inputs[EXAMPLE_IDS_KEY].get(modality)
    return torch.stack([inputs[DATASET_INDEX_KEY], inputs[EXAMPLE_INDEX_KEY]], dim=1) if ids is None else ids


def matched_rows(ids_B2: Tensor, modality_ids_M2: Tensor) -> tuple[Tensor, Tensor]:
    """The row (B,) of a modality that has the id of each row of the batch, and whether (B,) there is one.

    Where an id occurs several times, the n-th occurrence belongs to the n-th.

    Example:
        >>> rows, found = matched_rows(torch.tensor([[0, 1], [0, 2], [0, 3]]), torch.tensor([[0, 3], [0, 1]]))
        >>> rows[found], found
        (tensor([1, 0]), tensor([ True, False,  True]))
    """
    equal_BM = _equal(ids_B2, modality_ids_M2)
    same_occurrence_BM = _occurrence(ids_B2).unsqueeze(1) == _occurrence(modality_ids_M2)
    preference_BM = equal_BM.long() + (equal_BM & same_occurrence_BM).long()
    return preference_BM.argmax(dim=1), equal_BM.any(dim=1)


def take_rows(x_MSH: Tensor, mask_MS: Tensor, rows_B: Tensor, found_B: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states (B, S, H) and mask (B, S) of the batch's rows; zeros where nothing was found."""
    x_BSH = x_MSH.index_select(0, rows_B).masked_fill(~found_B[:, None, None], 0)
    return x_BSH, mask_MS.index_select(0, rows_B) & found_B.unsqueeze(1)


def _equal(a_B2: Tensor, b_M2: Tensor) -> Tensor:
    return (a_B2.unsqueeze(1) == b_M2).all(dim=-1)


def _occurrence(ids_B2: Tensor) -> Tensor:
    """How many rows before each one have its id."""
    return _equal(ids_B2, ids_B2).tril(-1).sum(dim=1)
