"""Classification by a linear layer on frozen embeddings."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.conf import external_store
from mmkit.tasks.bank_classification import Bank, BankClassification


# Shapes: N examples, D embedding dim, C classes, E = D + 1 for the bias.
def fit_logistic_regression(x_ND: Tensor, class_N: Tensor, num_classes: int, weight_decay: float, max_steps: int) -> Tensor:
    """Weights (C, E), the last column being the bias, that minimise the mean cross-entropy plus a penalty.

    The penalty is ``weight_decay / 2`` times the sum of the squared weights without the bias. The problem is convex; it is solved
    by L-BFGS from zero, so that the answer is always the same.

    Args:
        x_ND: Features (N, D).
        class_N: Class of every example, from 0.
        num_classes: Number of classes.
        weight_decay: Strength of the penalty.
        max_steps: Iterations at most.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x_ND, class_N = x_ND.detach().clone(), class_N.clone()  # tensors from inference mode cannot take part in a backward pass
        weight_CE = torch.zeros(num_classes, x_ND.size(1) + 1, dtype=x_ND.dtype, device=x_ND.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight_CE], max_iter=max_steps, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(linear_scores(x_ND, weight_CE), class_N) + weight_decay / 2 * weight_CE[:, :-1].square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return weight_CE.detach()


def linear_scores(x_ND: Tensor, weight_CE: Tensor) -> Tensor:
    """Scores (N, C) of features under the weights of :func:`fit_logistic_regression`."""
    return F.linear(x_ND, weight_CE[:, :-1], weight_CE[:, -1])


@external_store(group="eval_task")
class LinearProbe(BankClassification):
    """Classify every example by a logistic regression that is fitted to a labelled bank of frozen embeddings.

    The bank is embedded, and the regression fitted, anew for every epoch; the model learns nothing from it. Metrics:
    ``linear_top<k>_accuracy`` and ``linear_macro_accuracy``, the mean over classes.

    Args:
        bank: Labelled batches that can be iterated again and again, e.g. a ``DataLoader`` over the training data with a
            :class:`~mmkit.datasets.core.DefaultDataCollator`.
        modality: What is embedded and classified. Embeddings are scaled to unit length, then every feature to the bank's mean 0
            and variance 1.
        weight_decay: Strength of the penalty on the weights, relative to the mean cross-entropy.
        max_steps: Iterations of L-BFGS at most.
        top_k: The values of k of the accuracy. Default: 1.
        target_key: Key of the labels, one integer per example. Default: the modality's target, e.g. ``rgb_target``.
    """

    def __init__(
        self,
        bank: Iterable[dict[str, Any]],
        modality: str = "rgb",
        weight_decay: float = 1e-3,
        max_steps: int = 200,
        top_k: list[int] | None = None,
        target_key: str | None = None,
    ) -> None:
        super().__init__(bank, modality, target_key, top_k)
        self.weight_decay = weight_decay
        self.max_steps = max_steps

    def fit(self, bank: Bank) -> list[str]:
        self._mean_D, self._std_D = (
            bank.x_ND.mean(0),
            bank.x_ND.std(0, correction=0).clamp(min=1e-6),
        )  # a constant feature stays 0
        num_classes = len(bank.label_C)
        features_ND = (bank.x_ND - self._mean_D) / self._std_D
        self._weight_CE = fit_logistic_regression(features_ND, bank.class_N, num_classes, self.weight_decay, self.max_steps)
        return ["linear"]

    def scores(self, x_BD: Tensor, bank: Bank) -> dict[str, Tensor]:
        return {"linear": linear_scores((x_BD - self._mean_D) / self._std_D, self._weight_CE)}
