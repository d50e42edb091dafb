"""Estimating log p(x) by importance sampling from a Gaussian posterior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mmkit.hiddens.gaussian import log_density, over_positions, prior_log_density, sample


LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""Maps latents (N, S, Z) and the rows (N,) of the batch that they are for to log p(x_row | z) in nats (N,)."""


# Shapes: B batch, S positions, Z latent dimensions, K samples per row, N = K·B.
def log_importance_weights(
    log_likelihood: LogLikelihood, mean_BSZ: Tensor, logvar_BSZ: Tensor, mask_BS: Tensor, num_samples: int
) -> Tensor:
    """Log w = log p(x|z) + log p(z) - log q(z|x) of K draws z ~ q(z|x) for every row: (K, B).

    Densities are those of all real positions together.
    """
    num_rows = len(mean_BSZ)
    rows_N = torch.arange(num_rows, device=mean_BSZ.device).repeat(num_samples)
    mean_NSZ, logvar_NSZ, mask_NS = mean_BSZ[rows_N], logvar_BSZ[rows_N], mask_BS[rows_N]
    z_NSZ = sample(mean_NSZ, logvar_NSZ)
    log_ratio_NSZ = prior_log_density(z_NSZ) - log_density(z_NSZ, mean_NSZ, logvar_NSZ)
    log_ratio_N = over_positions(log_ratio_NSZ.sum(-1), mask_NS, "sum")
    return (log_likelihood(z_NSZ, rows_N) + log_ratio_N).unflatten(0, (num_samples, num_rows))


def log_mean_exp(log_weight_KB: Tensor) -> Tensor:
    """Logarithm of the mean over the first axis."""
    return torch.logsumexp(log_weight_KB, dim=0) - math.log(len(log_weight_KB))
