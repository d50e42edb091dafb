"""The loss of an asymmetric Mutual Information Machine."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.gaussian import check_reduction, over_batch, over_positions
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.losses.estimators import HINTS, expected_log_densities, inputs_of, mask_of


@external_store(group="hiddens/loss", name="a_mim")
class AMIMLoss(BaseHiddenLoss):
    """The latent part of A-MIM: -½ E[log q(z|x) + log p(z)], z ~ q(z|x) = ½ KL(q(z|x) || p(z)) + H(q(z|x)).

    MIM (Livne et al. 2019, https://arxiv.org/abs/1910.03175) minimises -½ E[log p(x|z) + log p(z) + log q(z|x) + log q(x)]; its
    asymmetric variant draws (x, z) from data and encoder only. Here the other two terms are the reconstruction, with weight 1:
    log q(x), the logarithm of the decoder's marginal, is taken at the same draw as log p(x|z) (Livne et al. 2020,
    https://arxiv.org/abs/2003.02645, algorithm 1, which is ``tokens_loss + loss`` with both weights 1). That is no bound of log
    q(x): where encoder and decoder agree, the value is H(x|z) + H(z|x) + ½ I(x;z), less than the joint entropy by ½ I(x;z).

    For a Gaussian it is Σ [(mean² + σ² + 1 + log σ²)/4 + ½ log 2π], whose derivative by log σ² is (σ² + 1)/4: this term always
    shrinks variances, and only the lower bound of the log-variances, or a decoder that cannot use the precision, stops it.

    Terms: ``loss``; ``log_q_z_given_x`` and ``log_p_z``, the two expectations, whose difference is the KL.

    Args:
        loss_weight: Its weight in the joint loss: a number, or a schedule.
        estimator: ``closed_form``: exact, for Gaussian posteriors. ``sampled``: at the drawn ``z`` as in the paper, for all.
        position_reduction: ``mean`` over real positions, or ``sum``: the density of all positions together.
        inputs: Own input name -> name in the pipeline.
    """

    term_names = ("loss", "log_q_z_given_x", "log_p_z")
    input_hints = HINTS

    def __init__(
        self,
        loss_weight: float | dict[str, Any] = 1.0,
        estimator: str = "closed_form",
        position_reduction: str = "mean",
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(loss_weight, inputs)
        self.estimator, self.position_reduction = estimator, check_reduction(position_reduction)
        self.input_names = inputs_of(estimator, allowed=("closed_form", "sampled"))

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        mask_BS = mask_of(inputs, self.estimator)
        log_q, log_p = (
            over_batch(over_positions(x_BS, mask_BS, self.position_reduction), mask_BS)
            for x_BS in expected_log_densities(inputs, self.estimator)
        )
        return {"loss": -0.5 * (log_q + log_p), "log_q_z_given_x": log_q, "log_p_z": log_p}
