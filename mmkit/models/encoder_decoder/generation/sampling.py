"""Which token follows: the most probable one, or one that is drawn."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mmkit.models.encoder_decoder.generation.random_numbers import uniform


# Shapes: N rows, V vocabulary.

Choice = Callable[[Tensor, int], Tensor]  # logits (N, V) and the step's number -> tokens (N,)


def most_probable(logits_NV: Tensor, step: int) -> Tensor:
    """The most probable token (N,) of each row."""
    return logits_NV.argmax(dim=-1)


class Sampler:
    """Draw a token from softmax(logits / temperature), where asked for from the most probable ones only.

    Args:
        seeds_N: A seed a row.
        temperature: Below 1 the distribution gets sharper, above 1 flatter.
        top_k: Draw from so many tokens (https://arxiv.org/abs/1805.04833); more when several are equally probable.
        top_p: Draw from the fewest tokens whose probabilities add up to so much (https://arxiv.org/abs/1904.09751).

    Raises:
        ValueError: A setting is out of its range.
    """

    def __init__(self, seeds_N: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(
                f"temperature={temperature} must be positive and finite. For the most probable token take method='greedy'."
            )
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1, or None for all tokens.")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p={top_p} must be above 0 and at most 1, or None for all tokens.")
        self.seeds_N, self.temperature, self.top_k, self.top_p = seeds_N, temperature, top_k, top_p

    def __call__(self, logits_NV: Tensor, step: int) -> Tensor:
        logits_NV = logits_NV.double() / self.temperature
        if self.top_k is not None:
            logits_NV = keep_top_k(logits_NV, self.top_k)
        if self.top_p is not None:
            logits_NV = keep_top_p(logits_NV, self.top_p)
        return drawn(logits_NV, uniform(self.seeds_N, step))


def drawn(logits_NV: Tensor, uniform_N: Tensor) -> Tensor:
    """The token (N,) at which the cumulative distribution exceeds ``uniform_N``; in double precision, for large vocabularies."""
    cumulative_NV = logits_NV.double().softmax(dim=-1).cumsum(dim=-1)
    at_N1 = (uniform_N * cumulative_NV[:, -1]).unsqueeze(-1)
    return torch.searchsorted(cumulative_NV, at_N1, right=True).squeeze(-1)


def keep_top_k(logits_NV: Tensor, top_k: int) -> Tensor:
    """Minus infinity for all but the ``top_k`` largest of each row, and those equal to the smallest of them.

    Example:
        >>> keep_top_k(torch.tensor([[3.0, 1.0, 2.0]]), 2)
        tensor([[3., -inf, 2.]])
    """
    smallest_N1 = logits_NV.topk(min(top_k, logits_NV.shape[-1]), dim=-1).values[:, -1:]
    return logits_NV.masked_fill(logits_NV < smallest_N1, -torch.inf)


def keep_top_p(logits_NV: Tensor, top_p: float) -> Tensor:
    """Minus infinity for all but the fewest tokens of each row whose probabilities add up to ``top_p``.

    Example:
        >>> keep_top_p(torch.tensor([[0.5, 0.2, 0.3]]).log(), 0.7).exp()
        tensor([[0.5000, 0.0000, 0.3000]])
    """
    sorted_NV, tokens_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
    probabilities_NV = sorted_NV.softmax(dim=-1)
    more_probable_NV = probabilities_NV.cumsum(dim=-1) - probabilities_NV
    sorted_NV = sorted_NV.masked_fill(more_probable_NV >= top_p, -torch.inf)
    return torch.empty_like(logits_NV).scatter(-1, tokens_NV, sorted_NV)
