"""Attention as loops over single positions in double precision: what every fast path is held against."""

import math

import torch
from torch import Tensor


def naive_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    activation: str,
    *,
    causal: bool,
    mask: Tensor | None = None,
    offset: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Values and weights; ``bias[d + zero]`` belongs to distance d, zero being the middle of ``bias``."""
    q, k, v, bias = (x.detach().double() for x in (q, k, v, bias))
    weights = torch.zeros(q.shape[0], q.shape[1], k.shape[1], dtype=torch.float64)
    for row in range(q.shape[0]):
        real = [True] * k.shape[1] if mask is None else mask[row].tolist()
        start = k.shape[1] - q.shape[1] if offset is None else offset[row]
        for t in range(q.shape[1]):
            seen = [s for s in range(k.shape[1]) if real[s] and (not causal or s <= t + start)]
            if not seen:
                continue
            leading = real.index(True)
            count = min(t + start + 1, k.shape[1]) - leading if causal else sum(real)
            for s in seen:
                product = sum(q[row, t, z].item() * k[row, s, z].item() for z in range(q.shape[2]))
                place = bias[s - t - start + bias.shape[0] // 2].item()
                score = product / math.sqrt(q.shape[2]) + place if activation == "softmax" else product / count + place
                weights[row, t, s] = weight(score, activation)
            if activation == "softmax":
                weights[row, t] /= weights[row, t].sum()
    return weights @ v, weights


def weight(score: float, activation: str) -> float:
    if activation == "softmax":
        return math.exp(score)
    if activation == "relu2":
        return max(score, 0.0) ** 2
    return 0.5 * (1 + math.erf((score - math.sqrt(0.5)) / math.sqrt(2 / (4 * math.pi))))
