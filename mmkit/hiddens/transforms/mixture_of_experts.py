"""A joint posterior over several modalities: the mixture of their Gaussians, in equal parts."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.gaussian import kl_from_prior, mixture_log_density, mixture_log_weights, sample
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.hiddens.transforms.experts import ExpertHeads


# Shapes: B batch, S positions, Z latent size, E experts (modalities, and the prior as the last one).
@external_store(group="hiddens/transform", name="mixture_of_experts")
class MixtureOfExperts(BaseHiddenTransform):
    """q(z|x_1..x_E) = mean over e of N(z; mean_e(x_e), exp(logvar_e(x_e))), over the modalities that an example has.

    The MMVAE's posterior (Shi et al. 2019, https://arxiv.org/abs/1911.03393). In training ``z`` comes from one expert, chosen
    at random at every position; its density is that of the whole mixture. An example without any modality has the prior.

    Makes ``z``, ``z_mean`` (B, S, Z; of the mixture), ``z_log_prob`` (B, S) and ``z_kl_bound`` (B, S): a mixture has no KL in
    closed form, but at most the mean of its experts' KLs (convexity). So ``vae`` and ``a_mim`` need ``estimator: sampled`` here,
    or ``vae`` the bound (``estimator: bound``).

    Args:
        hidden_sizes: Size of the hidden states by modality; ``<modality>.hiddens`` and its mask are read.
        latent_size: Size of the latent variable.
        num_positions: 1: of the mean over a modality's real positions. More: every modality has just as many positions.
        min_logvar: Smooth lower bound of the experts' log-variances.
        max_logvar: Smooth upper bound of them.
        sample_in_eval: Whether ``z`` is drawn in eval mode, too, instead of being the mean of the mixture.
        inputs: Own input name -> name in the pipeline.
    """

    output_names = ("z", "z_mean", "z_log_prob", "z_kl_bound")
    positions_from = None

    def __init__(
        self,
        hidden_sizes: dict[str, int],
        latent_size: int,
        num_positions: int = 1,
        min_logvar: float | None = -6.0,
        max_logvar: float | None = None,
        sample_in_eval: bool = False,
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(inputs)
        self.latent_size, self.num_positions, self.sample_in_eval = latent_size, num_positions, sample_in_eval
        self.experts = ExpertHeads(hidden_sizes, latent_size, num_positions, min_logvar, max_logvar)
        self.input_names = self.experts.input_names

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        mean_EBSZ, logvar_EBSZ, mask_EBS = _with_prior(*self.experts(inputs))
        log_weight_EBS = mixture_log_weights(mask_EBS, mean_EBSZ.dtype)
        weight_EBS = log_weight_EBS.exp()
        mean_BSZ = (weight_EBS.unsqueeze(-1) * mean_EBSZ).sum(0)
        draws = self.training or self.sample_in_eval
        z_BSZ = sample(*_one_of(mean_EBSZ, logvar_EBSZ, mask_EBS)) if draws else mean_BSZ
        return {
            "z": z_BSZ.to(self.experts.dtype),
            "z_mean": mean_BSZ,
            "z_log_prob": mixture_log_density(z_BSZ, mean_EBSZ, logvar_EBSZ, log_weight_EBS),
            "z_kl_bound": (weight_EBS * kl_from_prior(mean_EBSZ, logvar_EBSZ).sum(-1)).sum(0),
        }


def _with_prior(mean_EBSZ: Tensor, logvar_EBSZ: Tensor, mask_EBS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The experts and the prior, which is there where no other is."""
    prior_1BSZ = torch.zeros_like(mean_EBSZ[:1])
    alone_1BS = ~mask_EBS.any(0, keepdim=True)
    return torch.cat([mean_EBSZ, prior_1BSZ]), torch.cat([logvar_EBSZ, prior_1BSZ]), torch.cat([mask_EBS, alone_1BS])


def _one_of(mean_EBSZ: Tensor, logvar_EBSZ: Tensor, mask_EBS: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of one of the experts that are there; weights are equal, so the choice needs no gradient."""
    choice_BS = torch.rand(mask_EBS.shape, device=mask_EBS.device).masked_fill(~mask_EBS, -1).argmax(0)
    index_1BSZ = choice_BS[None, :, :, None].expand(1, *mean_EBSZ.shape[1:])
    return mean_EBSZ.gather(0, index_1BSZ)[0], logvar_EBSZ.gather(0, index_1BSZ)[0]
