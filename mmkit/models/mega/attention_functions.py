"""The functions that turn scores into attention weights (Mega, arXiv 2209.10655)."""

# Shapes: X any leading dims, S keys.
import math
from typing import Literal

import torch
from torch import Tensor


AttentionActivation = Literal["softmax", "laplace", "relu2"]

# The Laplace function approximates relu² with a bounded value and gradient: both curves and their slopes meet at x = sqrt(2).
LAPLACE_MEAN = math.sqrt(0.5)
LAPLACE_DEVIATION = math.sqrt(0.25 / math.pi)


def laplace(scores: Tensor) -> Tensor:
    """The normal distribution function with mean sqrt(1/2) and deviation sqrt(1/(4 pi)): the Laplace attention function of Mega.

    Example:
        >>> round(laplace(torch.tensor(0.5**0.5)).item(), 4)
        0.5
    """
    return 0.5 * (1.0 + torch.erf((scores - LAPLACE_MEAN) / (LAPLACE_DEVIATION * math.sqrt(2.0))))


def relu2(scores: Tensor) -> Tensor:
    """The square of what is positive (Primer, arXiv 2109.08668).

    Example:
        >>> relu2(torch.tensor([-1.0, 3.0]))
        tensor([0., 9.])
    """
    return torch.relu(scores).square()


def masked_softmax(scores_XS: Tensor, visible_XS: Tensor | None = None) -> Tensor:
    """Softmax over the keys that ``visible_XS`` keeps; a row that keeps none is zero, and so is its gradient.

    Example:
        >>> masked_softmax(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]]))
        tensor([[1., 0.],
                [0., 0.]])
    """
    if visible_XS is None:
        return torch.softmax(scores_XS, dim=-1)
    # The lowest finite value, not -inf: a row of -inf alone has NaN weights, and NaN gradients even where they are replaced.
    scores_XS = scores_XS.masked_fill(~visible_XS, torch.finfo(scores_XS.dtype).min)
    return torch.softmax(scores_XS, dim=-1) * visible_XS


def attention_weights(scores_XS: Tensor, activation: AttentionActivation, visible_XS: Tensor | None = None) -> Tensor:
    """Weights of the keys: normalised by softmax, or each on its own by laplace or relu²; unseen keys weigh zero."""
    if activation == "softmax":
        return masked_softmax(scores_XS, visible_XS)
    weights_XS = laplace(scores_XS) if activation == "laplace" else relu2(scores_XS)
    return weights_XS if visible_XS is None else weights_XS * visible_XS
