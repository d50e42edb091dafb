"""Diagonal Gaussians: densities, divergences, products, mixtures, and how values per position become one number.

Everything is in nats and elementwise over latent dimensions; the density of a vector is the sum over the last axis. Half
precision is widened to fp32 first: bf16 keeps three digits, and a log density is a sum of hundreds of terms.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mmkit.hiddens.errors import HiddensError


LOG_2PI = math.log(2 * math.pi)


# Shapes: B batch, S positions, Z latent dimensions, E experts, ... any leading axes.
def widened(x: Tensor) -> Tensor:
    """``x`` in fp32 if it is of half precision, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def log_density(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """``log N(x; mean, exp(logvar))`` of every element: -½(log 2π + logvar + (x - mean)² / exp(logvar)).

    Example:
        >>> log_density(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([0.0]))
        tensor([-0.9189])
    """
    x, mean, logvar = widened(x), widened(mean), widened(logvar)
    return -0.5 * (LOG_2PI + logvar + (x - mean).square() * torch.exp(-logvar))


def prior_log_density(x: Tensor) -> Tensor:
    """``log N(x; 0, 1)`` of every element."""
    return -0.5 * (LOG_2PI + widened(x).square())


def kl_from_prior(mean: Tensor, logvar: Tensor) -> Tensor:
    """``KL(N(mean, exp(logvar)) || N(0, 1))`` of every element: ½(mean² + exp(logvar) - 1 - logvar), never negative.

    Kingma & Welling, https://arxiv.org/abs/1312.6114, appendix B (with the opposite sign there: they write -KL).

    Example:
        >>> kl_from_prior(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0]))
        tensor([0., 2.])
    """
    mean, logvar = widened(mean), widened(logvar)
    return 0.5 * (mean.square() + torch.expm1(logvar) - logvar)  # expm1: no cancellation near logvar = 0


def entropy(logvar: Tensor) -> Tensor:
    """Differential entropy of every element: ½(1 + log 2π + logvar)."""
    return 0.5 * (1 + LOG_2PI + widened(logvar))


def sample(mean: Tensor, logvar: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw mean + exp(½ logvar) ε with ε ~ N(0, 1), differentiable in both (reparametrisation, 1312.6114, §2.4).

    Args:
        mean: Means of any shape.
        logvar: Log-variances of the same shape.
        generator: Where the noise comes from; torch's global generator if None.
    """
    mean, logvar = widened(mean), widened(logvar)
    return mean + torch.exp(0.5 * logvar) * _noise_like(mean, generator)


def _noise_like(x: Tensor, generator: Generator | None) -> Tensor:
    if generator is None:  # torch.compile with shapes that vary takes no argument `generator`
        return torch.randn_like(x)
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def smooth_bounds(x: Tensor, lower: float | None = None, upper: float | None = None) -> Tensor:
    """Squeeze ``x`` into (lower, upper), increasing and smooth; close to ``x`` well inside.

    With both bounds it is lower + softplus(x - lower) - softplus(x - upper), which keeps to both exactly (one softplus inside the
    other oversteps the inner bound). Unlike ``clamp`` it never stops the gradient: 1 - exp(lower - y) of it passes at a value y
    near the lower bound.

    Example:
        >>> smooth_bounds(torch.tensor([-100.0, 100.0]), lower=-6.0, upper=6.0)
        tensor([-6.,  6.])
    """
    x = widened(x)
    if lower is not None and upper is not None:
        return lower + F.softplus(x - lower) - F.softplus(x - upper)
    if lower is not None:
        return lower + F.softplus(x - lower)
    return x if upper is None else upper - F.softplus(upper - x)


def product_with_prior(mean_EBSZ: Tensor, logvar_EBSZ: Tensor, mask_EBS: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised product of the experts that ``mask_EBS`` keeps and of the prior N(0, 1), itself a Gaussian.

    Precisions add up, and means are weighted by them: 1/σ² = 1 + Σ 1/σ_e², μ = σ² Σ μ_e/σ_e² (Wu & Goodman 2018,
    https://arxiv.org/abs/1802.05335). Without any expert it is the prior.

    Returns:
        Means and log-variances, both (B, S, Z).
    """
    mean_EBSZ, logvar_EBSZ = widened(mean_EBSZ), widened(logvar_EBSZ)
    absent_EBS1 = ~mask_EBS.bool().unsqueeze(-1)
    log_precision_EBSZ = (-logvar_EBSZ).masked_fill(absent_EBS1, -torch.inf)
    prior_1BSZ = torch.zeros_like(log_precision_EBSZ[:1])
    total_BSZ = torch.logsumexp(torch.cat([prior_1BSZ, log_precision_EBSZ]), dim=0)
    share_EBSZ = torch.exp(log_precision_EBSZ - total_BSZ)
    return (share_EBSZ * mean_EBSZ.masked_fill(absent_EBS1, 0)).sum(0), -total_BSZ


def mixture_log_weights(mask_EBS: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Equal weights of the experts that ``mask_EBS`` keeps, as logarithms; -inf for the others.

    Where there is no expert at all every weight is -inf: put in an expert that is always there (the prior) for such rows.
    """
    kept_EBS = mask_EBS.bool()
    log_count_BS = kept_EBS.sum(0).clamp(min=1).to(dtype).log()
    return (-log_count_BS).expand(kept_EBS.shape).masked_fill(~kept_EBS, -torch.inf)


def mixture_log_density(z_BSZ: Tensor, mean_EBSZ: Tensor, logvar_EBSZ: Tensor, log_weight_EBS: Tensor) -> Tensor:
    """``log Σ_e w_e N(z; mean_e, exp(logvar_e))`` of every position: (B, S), with the vector's density inside of the sum."""
    log_density_EBS = log_density(z_BSZ, mean_EBSZ, logvar_EBSZ).sum(-1)
    return torch.logsumexp(log_density_EBS + log_weight_EBS, dim=0)


def check_reduction(reduction: str) -> str:
    """The reduction over positions, if it is one.

    Raises:
        ValueError: It is neither ``mean`` nor ``sum``.
    """
    if reduction not in ("mean", "sum"):
        raise HiddensError(f"Unknown position_reduction {reduction!r}. Allowed: mean, sum.")
    return reduction


def over_positions(x_BS: Tensor, mask_BS: Tensor, reduction: str = "mean") -> Tensor:
    """Mean or sum over the positions that ``mask_BS`` keeps: (B,); 0 for a row without any.

    Example:
        >>> over_positions(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[1, 1, 0]]))
        tensor([1.5000])
    """
    total_B = torch.where(mask_BS.bool(), x_BS, 0).sum(1)
    return total_B if reduction == "sum" else total_B / mask_BS.bool().sum(1).clamp(min=1)


def over_batch(x_B: Tensor, mask_BS: Tensor) -> Tensor:
    """Mean over the rows that have a real position; 0 if no row has one."""
    real_B = mask_BS.bool().any(1)
    return torch.where(real_B, x_B, 0).sum() / real_B.sum().clamp(min=1)
