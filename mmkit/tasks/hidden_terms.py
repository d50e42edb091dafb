"""What hidden losses are over an epoch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from mmkit.hiddens import BaseHiddenLoss, HiddensPipeline


# Shapes: K terms of all hidden losses.
class HiddenTerms(Metric):
    """The terms of hidden losses, each a mean over all examples of an epoch and of all ranks.

    An example counts where its loss counts it (``BaseHiddenLoss.num_examples``): the accuracy of classes is one over the
    examples that have a class, however these are spread over batches.

    Args:
        hiddens: The pipeline of the losses.
        **kwargs: Options of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    full_state_update = False
    sum_K: Tensor
    count_K: Tensor

    def __init__(self, hiddens: HiddensPipeline, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        losses: dict[str, Any] = dict(hiddens.losses.items())
        self.owners = {f"{name}_{term}": name for name, loss in losses.items() for term in loss.term_names}
        for name in ("sum_K", "count_K"):
            self.add_state(name, torch.zeros(len(self.owners), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, terms: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> None:
        """Take in a batch.

        Args:
            terms: Scalars as ``<name>_<term>``.
            counts: By the names of the losses, how many examples of the batch their terms are means over.
        """
        if not self.owners:
            return
        count_K = torch.stack([counts[name].detach().double() for name in self.owners.values()])
        term_K = torch.stack([terms[name].detach().double() for name in self.owners])
        # Widened again: a task of half precision has converted the states along with its parameters
        self.sum_K = self.sum_K.double() + torch.where(count_K > 0, term_K * count_K, 0)
        self.count_K = self.count_K.double() + count_K

    def compute(self) -> dict[str, Tensor]:
        """The means by name; none of a term that no example counts for."""
        known = (self.count_K > 0).tolist()
        means = zip(self.owners, self.sum_K / self.count_K, known, strict=True)
        return {name: mean for name, mean, counted in means if counted}


def num_examples(
    hiddens: HiddensPipeline, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], num_rows: int
) -> dict[str, Tensor]:
    """How many examples each hidden loss of a batch is a mean over.

    Args:
        hiddens: The pipeline of the losses.
        outputs: What its ``apply_hidden_transforms`` returned.
        batch: The batch.
        num_rows: Examples of the batch.

    Returns:
        Scalars by the names of the losses.
    """
    losses: dict[str, BaseHiddenLoss] = dict(hiddens.losses.items())  # pyright: ignore[reportAssignmentType]
    counts = {name: loss.num_examples(loss.gather(outputs), batch) for name, loss in losses.items()}
    rows = outputs["enc_output"].new_tensor(num_rows, dtype=torch.long)
    return {name: rows if count is None else count for name, count in counts.items()}


def weighted_sum(hiddens: HiddensPipeline, terms: Mapping[str, Tensor]) -> Tensor | float:
    """Σ loss_weight · loss of those that are known."""
    losses: dict[str, BaseHiddenLoss] = dict(hiddens.losses.items())  # pyright: ignore[reportAssignmentType]
    return sum(loss.weight() * terms[f"{name}_loss"] for name, loss in losses.items() if f"{name}_loss" in terms)
