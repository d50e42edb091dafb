"""A diagonal Gaussian posterior at every position."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.gaussian import log_density, sample, smooth_bounds
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.hiddens.values import whole


# Shapes: B batch, S positions, H hidden size, Z latent size.
class GaussianHead(nn.Module):
    """Maps hidden states linearly to means and bounded log-variances.

    Args:
        hidden_size: Size H of the hidden states.
        latent_size: Size Z of the latent variable.
        min_logvar: Smooth lower bound of the log-variances; None: no bound.
        max_logvar: Smooth upper bound; None: no bound.

    Raises:
        ValueError: A size is no positive integer, or the lower bound is not below the upper one.
    """

    def __init__(
        self, hidden_size: int, latent_size: int, min_logvar: float | None = -6.0, max_logvar: float | None = None
    ) -> None:
        super().__init__()
        if min_logvar is not None and max_logvar is not None and min_logvar >= max_logvar:
            raise HiddensError(f"min_logvar={min_logvar} must be below max_logvar={max_logvar}; give null for no bound.")
        self.min_logvar, self.max_logvar = min_logvar, max_logvar
        self.proj = nn.Linear(whole("hidden_size", hidden_size), 2 * whole("latent_size", latent_size))

    def forward(self, hiddens_BSH: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances, both (B, S, Z), in fp32 at least."""
        mean_BSZ, logvar_BSZ = self.proj(hiddens_BSH.to(self.dtype)).chunk(2, dim=-1)
        return mean_BSZ.to(self.wide_dtype), smooth_bounds(logvar_BSZ, self.min_logvar, self.max_logvar)

    @property
    def dtype(self) -> torch.dtype:
        return self.proj.weight.dtype

    @property
    def wide_dtype(self) -> torch.dtype:
        return torch.promote_types(self.dtype, torch.float32)


@external_store(group="hiddens/transform", name="cond_gaussian")
class CondGaussian(BaseHiddenTransform):
    """The posterior q(z|x) = N(mean(x), exp(logvar(x))) of every position, and a draw of it (https://arxiv.org/abs/1312.6114).

    Makes ``z`` (B, S, Z), ``z_mean``, ``z_logvar`` (B, S, Z) and ``z_log_prob`` (B, S): the log density of ``z``, summed over Z.
    In eval mode ``z`` is the mean, and ``z_log_prob`` the density there, unless ``sample_in_eval``; losses that read these are
    then no estimates of an expectation, those with closed forms are exact.

    Args:
        hidden_size: Size of the hidden states that come in.
        latent_size: Size of the latent variable; as ``hidden_size`` if None.
        min_logvar: Smooth lower bound of the log-variances; None: no bound. A-MIM shrinks variances until something stops it.
        max_logvar: Smooth upper bound; None: no bound.
        sample_in_eval: Whether ``z`` is drawn in eval mode, too.
        inputs: Own input name -> name in the pipeline.
    """

    output_names = ("z", "z_mean", "z_logvar", "z_log_prob")

    def __init__(
        self,
        hidden_size: int,
        latent_size: int | None = None,
        min_logvar: float | None = -6.0,
        max_logvar: float | None = None,
        sample_in_eval: bool = False,
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(inputs)
        self.latent_size = hidden_size if latent_size is None else latent_size
        self.sample_in_eval = sample_in_eval
        self.head = GaussianHead(hidden_size, self.latent_size, min_logvar, max_logvar)

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        mean_BSZ, logvar_BSZ = self.head(inputs["hiddens"])
        draws = self.training or self.sample_in_eval
        return posterior_outputs(sample(mean_BSZ, logvar_BSZ) if draws else mean_BSZ, mean_BSZ, logvar_BSZ, self.head.dtype)


def posterior_outputs(z_BSZ: Tensor, mean_BSZ: Tensor, logvar_BSZ: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """What transforms with a Gaussian posterior return; ``z`` in the dtype of the model, the density of it unrounded."""
    log_prob_BS = log_density(z_BSZ, mean_BSZ, logvar_BSZ).sum(-1)
    return {"z": z_BSZ.to(dtype), "z_mean": mean_BSZ, "z_logvar": logvar_BSZ, "z_log_prob": log_prob_BS}
