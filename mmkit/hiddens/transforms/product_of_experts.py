"""A joint posterior over several modalities: the product of their Gaussians and the prior."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.gaussian import product_with_prior, sample
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.hiddens.transforms.cond_gaussian import posterior_outputs
from mmkit.hiddens.transforms.experts import ExpertHeads, without_some


@external_store(group="hiddens/transform", name="product_of_experts")
class ProductOfExperts(BaseHiddenTransform):
    """q(z|x_1..x_E) ∝ p(z) Π_e N(z; mean_e(x_e), exp(logvar_e(x_e))) over the modalities that an example has.

    The MVAE's posterior (Wu & Goodman 2018, https://arxiv.org/abs/1802.05335). The prior N(0, I) is an expert, too: an
    example without any modality has the prior as posterior. The product is a Gaussian, so all losses with closed forms work.
    Makes ``z``, ``z_mean``, ``z_logvar`` (B, S, Z) and ``z_log_prob`` (B, S), as ``cond_gaussian`` does.

    Args:
        hidden_sizes: Size of the hidden states by modality; ``<modality>.hiddens`` and its mask are read.
        latent_size: Size of the latent variable.
        num_positions: 1: of the mean over a modality's real positions. More: every modality has just as many positions.
        min_logvar: Smooth lower bound of every expert's log-variances; that of the product can be lower.
        max_logvar: Smooth upper bound of every expert's.
        drop_modality: Probability that an example goes without one of its modalities in training, of which one always stays. Else
            experts learn only together, and are wrong alone (what the paper's sub-sampled training is for).
        sample_in_eval: Whether ``z`` is drawn in eval mode, too, instead of being the mean.
        inputs: Own input name -> name in the pipeline.
    """

    output_names = ("z", "z_mean", "z_logvar", "z_log_prob")
    positions_from = None

    def __init__(
        self,
        hidden_sizes: dict[str, int],
        latent_size: int,
        num_positions: int = 1,
        min_logvar: float | None = -6.0,
        max_logvar: float | None = None,
        drop_modality: float = 0.0,
        sample_in_eval: bool = False,
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(inputs)
        if not 0 <= drop_modality < 1:
            raise HiddensError(f"drop_modality={drop_modality} is a probability: at least 0, and less than 1.")
        self.drop_modality = drop_modality
        self.latent_size, self.num_positions, self.sample_in_eval = latent_size, num_positions, sample_in_eval
        self.experts = ExpertHeads(hidden_sizes, latent_size, num_positions, min_logvar, max_logvar)
        self.input_names = self.experts.input_names

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        mean_EBSZ, logvar_EBSZ, mask_EBS = self.experts(inputs)
        if self.training and self.drop_modality:
            mask_EBS = without_some(mask_EBS, self.drop_modality)
        mean_BSZ, logvar_BSZ = product_with_prior(mean_EBSZ, logvar_EBSZ, mask_EBS)
        draws = self.training or self.sample_in_eval
        return posterior_outputs(sample(mean_BSZ, logvar_BSZ) if draws else mean_BSZ, mean_BSZ, logvar_BSZ, self.experts.dtype)
