"""Accuracy of class scores, over examples and over classes."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from mmkit.conf import external_store


# Shapes: B examples, C classes, K values of k.
@external_store(group="modules/metrics")
class TopKAccuracy(Metric):
    """Whether the right class is among the k with the highest scores; two classes are not special.

    Ties count against the model: the right class stands behind every other class of the same score, and NaN is worse than
    everything.

    Args:
        num_classes: Number of classes.
        top_k: The values of k. Those above the number of classes are left out, so that one list serves many data sets.
        **kwargs: Options of ``torchmetrics.Metric``.

    Example:
        >>> import torch
        >>> accuracy = TopKAccuracy(num_classes=3, top_k=[1, 2])
        >>> accuracy.update(torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1]]), torch.tensor([0, 1]))
        >>> accuracy.compute()
        {'top1_accuracy': tensor(0.5000), 'top2_accuracy': tensor(1.), 'macro_accuracy': tensor(0.5000)}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits_KC: Tensor
    examples_C: Tensor

    def __init__(self, num_classes: int, top_k: list[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        top_k = [1] if top_k is None else top_k
        if num_classes < 1 or not top_k or min(top_k) < 1:
            raise ValueError(f"num_classes and every k must be at least 1, got {num_classes} and {top_k}.")
        self.top_k = [k for k in top_k if k <= num_classes]
        self.counted_k = sorted({1, *self.top_k})  # the macro accuracy needs k = 1
        self.add_state("hits_KC", torch.zeros(len(self.counted_k), num_classes), dist_reduce_fx="sum")
        self.add_state("examples_C", torch.zeros(num_classes), dist_reduce_fx="sum")

    def update(self, scores_BC: Tensor, classes_B: Tensor) -> None:
        """Take in scores (B, C) and the number of the right class, from 0, of every example."""
        right_B1 = scores_BC.gather(1, classes_B[:, None])
        rank_B = scores_BC.size(1) - (scores_BC < right_B1).sum(1)
        hit_KB = (rank_B <= torch.tensor(self.counted_k, device=rank_B.device)[:, None]).float()
        self.hits_KC.index_add_(1, classes_B, hit_KB)
        self.examples_C.index_add_(0, classes_B, torch.ones_like(hit_KB[0]))

    def compute(self) -> dict[str, Tensor]:
        """``top<k>_accuracy`` over all examples, and ``macro_accuracy``, the mean of the classes' own; NaN without examples.

        Classes without examples do not count.
        """
        accuracy_K = self.hits_KC.sum(1) / self.examples_C.sum()
        of_k = {f"top{k}_accuracy": accuracy for k, accuracy in zip(self.counted_k, accuracy_K, strict=True) if k in self.top_k}
        present_C = self.examples_C > 0
        return {**of_k, "macro_accuracy": (self.hits_KC[0, present_C] / self.examples_C[present_C]).mean()}
