"""The KL term of a variational autoencoder, with free bits."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.gaussian import check_reduction, kl_from_prior, over_batch, over_positions
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.losses.estimators import HINTS, expected_log_densities, inputs_of, mask_of
from mmkit.hiddens.values import finite


FREE_BITS_UNITS = ("example", "dimension")


# Shapes: B batch, S positions, Z latent dimensions.
@external_store(group="hiddens/loss", name="vae")
class VAELoss(BaseHiddenLoss):
    """KL(q(z|x) || p(z)) with p(z) = N(0, I), the latent part of the negative ELBO (https://arxiv.org/abs/1312.6114, eq. 10).

    With a ``loss_weight`` (β) other than 1 it is a β-VAE; a schedule anneals it. For one position per example, or with
    ``position_reduction: sum``, ``tokens_loss + loss`` is the negative ELBO of an example if the tokens' loss is summed over
    them.

    Free bits (Kingma et al. 2016, https://arxiv.org/abs/1606.04934, eq. 15): a unit's KL counts as at least ``min_kl_value``, so
    it has no gradient below and nothing is gained by collapsing to the prior. The unit is

    - ``example``: all latent dimensions of an example (averaged over positions) are one group: mean over x of max(λ, KL(x)). It
      does not depend on what else is in the batch, and the term is never below λ.
    - ``dimension``: every latent dimension is a group, averaged over positions and the batch first, as in the paper:
      Σ_j max(λ, mean over x of KL_j(x)); never below λ·Z.

    Terms: ``loss``; ``kl``, the same without free bits.

    Args:
        loss_weight: β: a number, or a schedule.
        min_kl_value: λ in nats; None: no free bits.
        free_bits_unit: ``example`` or ``dimension``.
        estimator: ``closed_form``, for Gaussian posteriors; ``sampled``: log q(z|x) - log p(z) at the drawn ``z``; ``bound``: the
            upper bound that ``mixture_of_experts`` gives.
        position_reduction: ``mean`` over real positions, or ``sum``: the KL of all positions together.
        inputs: Own input name -> name in the pipeline.

    Raises:
        ValueError: An unknown option, a negative ``min_kl_value``, or one per dimension where dimensions are summed already.
    """

    term_names = ("loss", "kl")
    input_hints = HINTS

    def __init__(
        self,
        loss_weight: float | dict[str, Any] = 1.0,
        min_kl_value: float | None = None,
        free_bits_unit: str = "example",
        estimator: str = "closed_form",
        position_reduction: str = "mean",
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(loss_weight, inputs)
        self.input_names = inputs_of(estimator, allowed=("closed_form", "sampled", "bound"))
        self.estimator, self.position_reduction = estimator, check_reduction(position_reduction)
        self.min_kl_value, self.free_bits_unit = min_kl_value, free_bits_unit
        self._check_free_bits()

    def _check_free_bits(self) -> None:
        if self.free_bits_unit not in FREE_BITS_UNITS:
            raise HiddensError(f"Unknown free_bits_unit {self.free_bits_unit!r}. Allowed: {', '.join(FREE_BITS_UNITS)}.")
        if self.free_bits_unit == "dimension" and self.estimator != "closed_form":
            raise HiddensError(
                f"free_bits_unit: dimension needs the KL of every dimension, and estimator: {self.estimator} has only their sum. "
                "Set estimator: closed_form, or free_bits_unit: example."
            )
        if self.min_kl_value is not None and finite("min_kl_value", self.min_kl_value, ", or null for no free bits") < 0:
            raise HiddensError(f"min_kl_value={self.min_kl_value} must not be negative. Give null for no free bits.")

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        mask_BS = mask_of(inputs, self.estimator)
        kl_B = over_positions(self._kl(inputs), mask_BS, self.position_reduction)
        kl = over_batch(kl_B, mask_BS)
        if self.min_kl_value is None:
            return {"loss": kl, "kl": kl}
        if self.free_bits_unit == "example":
            return {"loss": over_batch(kl_B.clamp(min=self.min_kl_value), mask_BS), "kl": kl}
        return {"loss": self._mean_of_dimensions(inputs, mask_BS).clamp(min=self.min_kl_value).sum(), "kl": kl}

    def _kl(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """KL of every position (B, S), or what stands for it."""
        if self.estimator == "bound":
            return inputs["z_kl_bound"]
        if self.estimator == "closed_form":
            return kl_from_prior(inputs["z_mean"], inputs["z_logvar"]).sum(-1)
        log_q_BS, log_p_BS = expected_log_densities(inputs, self.estimator)
        return log_q_BS - log_p_BS

    def _mean_of_dimensions(self, inputs: Mapping[str, Tensor], mask_BS: Tensor) -> Tensor:
        """KL of every latent dimension (Z,), over positions and the batch."""
        kl_BSZ = kl_from_prior(inputs["z_mean"], inputs["z_logvar"])
        kl_BZ = over_positions(kl_BSZ, mask_BS.unsqueeze(-1), self.position_reduction)
        real_B1 = mask_BS.bool().any(1, keepdim=True)
        return kl_BZ.where(real_B1, 0).sum(0) / real_B1.sum().clamp(min=1)
