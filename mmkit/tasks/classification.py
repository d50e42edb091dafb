"""What evaluations by classification share: labels of a batch, and accuracy that is logged if there was any example."""

import warnings
from typing import Any

import torch
from torch import Tensor

from mmkit.constants import EXAMPLE_IDS_KEY
from mmkit.datasets.core import find_matching_indices
from mmkit.modules.metrics import TopKAccuracy


# Shapes: B examples that have a modality, L of them with a label, D embedding dim, C classes.
def labelled_rows(batch: dict[str, Any], modality: str, target_key: str, x_BD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of a modality that have a label.

    Args:
        batch: A batch.
        modality: Name of the modality.
        target_key: Key of the labels, one integer per example.
        x_BD: One row per example that has the modality, e.g. its embedding.

    Returns:
        Rows (L, D), labels (L,) and ``dataset_index`` (L,).

    Raises:
        ValueError: If the labels are no integers, one per example.
    """
    ids_B2 = batch[EXAMPLE_IDS_KEY][modality]
    if target_key not in batch:
        return x_BD[:0], ids_B2[:0, 0], ids_B2[:0, 0]
    labels, label_ids = batch[target_key], batch[EXAMPLE_IDS_KEY][target_key]
    if not isinstance(labels, Tensor) or labels.dim() != 1 or labels.is_floating_point():
        found = f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"The labels {target_key!r} must be one integer per example, got {found}.")
    if torch.equal(ids_B2, label_ids):  # several examples may share an id, and each has its own label
        return x_BD, labels.long(), ids_B2[:, 0]
    rows_L, labels_L = find_matching_indices(ids_B2, label_ids)
    return x_BD[rows_L], labels[labels_L].long(), ids_B2[rows_L, 0]


def class_numbers(label_L: Tensor, label_C: Tensor, owner: str) -> Tensor:
    """Number (L,) of the class of every label, from 0.

    Args:
        label_L: Labels.
        label_C: Labels of all classes, ascending.
        owner: Who knows these classes, for the error.

    Raises:
        ValueError: If there are other labels.
    """
    if unknown := label_L[~torch.isin(label_L, label_C)].unique().tolist():
        raise ValueError(f"The evaluated data has the labels {unknown}, but {owner} knows only {label_C.tolist()}.")
    return torch.searchsorted(label_C, label_L)


def new_accuracy(num_classes: int, top_k: list[int] | None, device: torch.device) -> TopKAccuracy:
    """An accuracy that may be computed without examples: other ranks may have some."""
    accuracy = TopKAccuracy(num_classes, top_k).to(device)
    accuracy.update(torch.zeros(0, num_classes, device=device), torch.zeros(0, dtype=torch.long, device=device))
    return accuracy


def accuracy_metrics(name: str, accuracy: TopKAccuracy, target_key: str) -> dict[str, Tensor]:
    """The accuracies as ``<name>_top<k>_accuracy`` and ``<name>_macro_accuracy``; a warning and nothing without examples."""
    values = accuracy.compute()
    if values["macro_accuracy"].isnan():
        warnings.warn(f"No example of this epoch has a label {target_key!r}: {name}_* is not logged.", stacklevel=2)
        return {}
    return {f"{name}_{metric}": value for metric, value in values.items()}
