"""Losses of the language-modelling heads."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F


# Shapes: B batch, L positions, V tokens of the vocabulary.
def masked_language_modelling_loss(
    logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None = None, ignore_index: int = -100, **_: Any
) -> Tensor:
    """Cross-entropy of the labels, in fp32 at least.

    Args:
        logits: (B, L, V).
        labels: (B, L); positions with ``ignore_index`` do not count.
        num_items_in_batch: Divide the sum by this number, e.g. the labels of all accumulated batches; the mean without it.
        ignore_index: Label of positions without a target.
    """
    wide = logits.float() if logits.dtype.itemsize < 4 else logits
    total_or_mean = F.cross_entropy(
        wide.flatten(0, -2),
        labels.flatten().to(logits.device),
        ignore_index=ignore_index,
        reduction="mean" if num_items_in_batch is None else "sum",
    )
    return total_or_mean if num_items_in_batch is None else total_or_mean / num_items_in_batch


def causal_language_modelling_loss(
    logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None = None, ignore_index: int = -100, **_: Any
) -> Tensor:
    """Cross-entropy of each position's prediction of the next label; arguments as above."""
    next_labels = F.pad(labels[:, 1:], (0, 1), value=ignore_index)  # shifting the logits would copy them
    return masked_language_modelling_loss(logits, next_labels, num_items_in_batch, ignore_index)
