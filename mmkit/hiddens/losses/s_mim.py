"""The loss of a symmetric Mutual Information Machine."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.gaussian import log_density, over_batch, over_positions, prior_log_density, sample
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.losses.importance import LogLikelihood, log_importance_weights, log_mean_exp
from mmkit.hiddens.losses.iwae import function_of_model


MARGINALS = ("importance", "dropped")


# Shapes: B batch, S positions, Z latent dimensions, N generated pairs.
@external_store(group="hiddens/loss", name="s_mim")
class SMIMLoss(BaseHiddenLoss):
    """Cross entropy of a sample of both sides with both models: the loss of MIM (https://arxiv.org/abs/1910.03175).

    -½ E[log p(x|z) + log p(z) + log q(z|x) + log q(x)] = ½ (CE(M, p) + CE(M, q)), where half of the pairs (x, z) of M are
    encoded, x from the data and z ~ q(z|x), and half are decoded, z ~ N(0, I) and x ~ p(x|z). It bounds the joint entropy of M
    from above and equals H(x, z) where encoder and decoder agree.

    ``log_q_x`` says what stands for log q(x):

    - ``importance``: the decoder's marginal, as in https://arxiv.org/abs/2003.02645, estimated by ``num_samples`` draws of q(z|x)
      (IWAE's bound, so the loss stays an upper bound on average). Its gradient is that of maximum likelihood.
    - ``dropped``: nothing. On encoded pairs with q(x) = the data's distribution that is a constant, the data's entropy; on
      decoded pairs it is not, and what would keep the decoder near the data is missing. The value is then less than H(x, z) by ½
      H(x).

    Decoded x are discrete, so the decoder learns from them by the score function: the loss of a pair, less the mean of the other
    pairs' losses, times ∇ log p(x|z) (REINFORCE with a leave-one-out baseline). Densities are those of all positions together,
    and the reconstruction is inside, so ``tokens_loss_weight`` must be 0. Needs a posterior with the same number of positions for
    every x: a pooled one, or a perceiver's. A step generates as many texts as the batch has.

    Terms: ``loss``; ``encoded`` and ``decoded``, the halves whose mean it is.

    Args:
        loss_weight: Its weight in the joint loss: a number, or a schedule.
        log_q_x: ``importance`` or ``dropped``.
        num_samples: Draws for log q(x).
        score_function: Whether the decoder has a gradient from which x it generates, too.
        inputs: Own input name -> name in the pipeline.

    Raises:
        ValueError: Unknown ``log_q_x``, or fewer than one sample.
    """

    input_names = ("z_mean", "z_logvar", "z_mean_mask")
    term_names = ("loss", "encoded", "decoded")
    input_hints: Mapping[str, str] = {"z_logvar": "s_mim needs a Gaussian posterior, such as cond_gaussian's."}
    includes_tokens = True
    needs_fixed_positions = True

    def __init__(
        self,
        loss_weight: float | dict[str, Any] = 1.0,
        log_q_x: str = "importance",
        num_samples: int = 1,
        score_function: bool = True,
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(loss_weight, inputs)
        if log_q_x not in MARGINALS or num_samples < 1:
            raise HiddensError(
                f"log_q_x={log_q_x!r} must be one of {', '.join(MARGINALS)}, and num_samples={num_samples} at least 1."
            )
        self.log_q_x, self.num_samples, self.score_function = log_q_x, num_samples, score_function

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        encoded_B, mask_BS = self._encoded(inputs, batch_data), inputs["z_mean_mask"]
        decoded_N = self._decoded(inputs, batch_data)
        encoded, decoded = over_batch(encoded_B, mask_BS), decoded_N.mean()
        return {"loss": 0.5 * (encoded + decoded), "encoded": encoded.detach(), "decoded": decoded.detach()}

    def _encoded(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None) -> Tensor:
        """Loss (B,) of pairs from data and encoder."""
        log_likelihood: LogLikelihood = function_of_model(batch_data, "log_likelihood", "s_mim")
        z_BSZ = sample(inputs["z_mean"], inputs["z_logvar"])
        rows_B = torch.arange(len(z_BSZ), device=z_BSZ.device)
        return self._cross_entropy(z_BSZ, log_likelihood(z_BSZ, rows_B), inputs, log_likelihood)

    def _decoded(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None) -> Tensor:
        """Loss (N,) of pairs from prior and decoder."""
        z_NSZ = torch.randn_like(inputs["z_mean"])
        pairs = function_of_model(batch_data, "generate_pairs", "s_mim")(z_NSZ)
        posterior = self.gather(pairs)
        if posterior["z_mean"].shape != z_NSZ.shape:
            raise ValueError(
                f"The posterior of generated examples has shape {tuple(posterior['z_mean'].shape)}, latents drawn from the prior "
                f"{tuple(z_NSZ.shape)}: s_mim needs as many positions for every example. Put mean_pool or perceiver before the "
                "posterior, or use an encoder with arch: perceiver."
            )
        posterior["z_mean_mask"] = torch.ones_like(z_NSZ[..., 0], dtype=torch.bool)
        log_p_N = pairs["log_p_x_given_z"]
        loss_N = self._cross_entropy(z_NSZ, log_p_N, posterior, pairs["log_likelihood"])
        return loss_N + _score_term(loss_N, log_p_N) if self.score_function else loss_N

    def _cross_entropy(
        self, z_BSZ: Tensor, log_p_x_given_z_B: Tensor, posterior: Mapping[str, Tensor], log_likelihood: LogLikelihood
    ) -> Tensor:
        """-½ [log p(x|z) + log p(z) + log q(z|x) + log q(x)] of every pair, summed over positions."""
        mean_BSZ, logvar_BSZ, mask_BS = posterior["z_mean"], posterior["z_logvar"], posterior["z_mean_mask"]
        of_z_BSZ = prior_log_density(z_BSZ) + log_density(z_BSZ, mean_BSZ, logvar_BSZ)
        total_B = log_p_x_given_z_B + over_positions(of_z_BSZ.sum(-1), mask_BS, "sum")
        if self.log_q_x == "importance":
            weights = log_importance_weights(log_likelihood, mean_BSZ, logvar_BSZ, mask_BS, self.num_samples)
            total_B = total_B + log_mean_exp(weights)
        return -0.5 * total_B


def _score_term(loss_N: Tensor, log_p_N: Tensor) -> Tensor:
    """Zero, with the gradient that losses have through the probability of what was drawn."""
    value_N = loss_N.detach()
    if len(value_N) > 1:  # leave-one-out: value - mean of the others
        value_N = (value_N - value_N.mean()) * len(value_N) / (len(value_N) - 1)
    return value_N * (log_p_N - log_p_N.detach())
