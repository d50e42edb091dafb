"""The importance-weighted bound of the log likelihood."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.gaussian import over_batch
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.losses.importance import log_importance_weights, log_mean_exp


# Shapes: B batch, S positions, Z latent dimensions, K samples per example.
@external_store(group="hiddens/loss", name="iwae")
class IWAELoss(BaseHiddenLoss):
    """-log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x) (Burda et al. 2015, https://arxiv.org/abs/1509.00519, eq. 8).

    A bound of -log p(x) that gets tighter with K; with K = 1 it is the negative ELBO, sampled. It contains the reconstruction
    (it decodes K draws of its own for every example), so ``tokens_loss_weight`` must be 0. Densities are those of all positions
    together, as a bound of the likelihood needs: summed over real positions, not averaged.

    Terms: ``loss``; ``elbo``, the mean of the K logarithms: the bound with one draw.

    Args:
        loss_weight: Its weight in the joint loss: a number, or a schedule.
        num_samples: K, draws per example. The decoder's memory and time grow with it.
        inputs: Own input name -> name in the pipeline.

    Raises:
        ValueError: Fewer than one sample.
    """

    input_names = ("z_mean", "z_logvar", "z_mean_mask")
    term_names = ("loss", "elbo")
    input_hints: Mapping[str, str] = {"z_logvar": "iwae draws from a Gaussian posterior, such as cond_gaussian's."}
    includes_tokens = True

    def __init__(
        self, loss_weight: float | dict[str, Any] = 1.0, num_samples: int = 8, inputs: dict[str, str] | None = None
    ) -> None:
        super().__init__(loss_weight, inputs)
        if num_samples < 1:
            raise HiddensError(f"num_samples={num_samples} must be at least 1.")
        self.num_samples = num_samples

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        log_likelihood = function_of_model(batch_data, "log_likelihood", "iwae")
        mask_BS = inputs["z_mean_mask"]
        log_weight_KB = log_importance_weights(log_likelihood, inputs["z_mean"], inputs["z_logvar"], mask_BS, self.num_samples)
        return {
            "loss": -over_batch(log_mean_exp(log_weight_KB), mask_BS),
            "elbo": over_batch(log_weight_KB.detach().mean(0), mask_BS),
        }


def function_of_model(batch_data: Mapping[str, Any] | None, name: str, loss: str) -> Any:
    """A function that the model gives to losses beside the batch.

    Raises:
        ValueError: It gives none of this name.
    """
    if batch_data is None or name not in batch_data:
        raise ValueError(
            f"{loss} needs batch_data[{name!r}], which mmkit.models.EncoderDecoder gives. A model of your own must hand it to "
            f"apply_loss_transforms(outputs, {{{name!r}: ...}})."
        )
    return batch_data[name]
