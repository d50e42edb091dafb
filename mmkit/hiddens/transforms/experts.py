"""What joint posteriors over several modalities have in common: one Gaussian expert per modality, with missing ones masked."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.transforms.cond_gaussian import GaussianHead
from mmkit.modules.layers.pooling import mean_pool


# Shapes: B batch, S positions, H hidden size of a modality, Z latent size, E experts (modalities).
class ExpertHeads(nn.Module):
    """A Gaussian head per modality on ``<modality>.hiddens``.

    Args:
        hidden_sizes: Size of the hidden states by modality.
        latent_size: Size Z of the latent variable.
        num_positions: 1: the mean over a modality's real positions goes into its head. More: every encoder gives just as many
            positions (e.g. perceivers), and experts meet position by position.
        min_logvar: Smooth lower bound of the log-variances; None: no bound.
        max_logvar: Smooth upper bound; None: no bound.

    Raises:
        ValueError: Fewer than one modality or position.
    """

    def __init__(
        self,
        hidden_sizes: Mapping[str, int],
        latent_size: int,
        num_positions: int = 1,
        min_logvar: float | None = -6.0,
        max_logvar: float | None = None,
    ) -> None:
        super().__init__()
        if not hidden_sizes or num_positions < 1:
            raise HiddensError(
                f"Experts need at least one modality and position, got hidden_sizes={dict(hidden_sizes)} and "
                f"num_positions={num_positions}. Give e.g. hidden_sizes: {{rgb: 256, text: 256}}."
            )
        self.num_positions = num_positions
        self.heads = nn.ModuleDict(
            {name: GaussianHead(size, latent_size, min_logvar, max_logvar) for name, size in hidden_sizes.items()}
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        """``<modality>.hiddens`` and ``<modality>.hiddens_mask`` of all modalities."""
        return tuple(f"{name}.{key}" for name in self.heads for key in ("hiddens", "hiddens_mask"))

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Means (E, B, S, Z), log-variances (E, B, S, Z) and which experts are there (E, B, S)."""
        experts = [self._expert(name, inputs[f"{name}.hiddens"], inputs[f"{name}.hiddens_mask"]) for name in self.heads]
        means, logvars, masks = zip(*experts, strict=True)
        return torch.stack(means), torch.stack(logvars), torch.stack(masks)

    def _expert(self, name: str, hiddens_BSH: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.num_positions == 1:
            hiddens_BSH, mask_BS = mean_pool(hiddens_BSH, mask_BS).unsqueeze(1), mask_BS.bool().any(1, keepdim=True)
        elif hiddens_BSH.shape[1] != self.num_positions:
            raise ValueError(
                f"{name}.hiddens have {hiddens_BSH.shape[1]} positions, but num_positions={self.num_positions}. Give every "
                "encoder as many (e.g. arch: perceiver with hidden_steps), or set num_positions: 1 for the mean over positions."
            )
        mean_BSZ, logvar_BSZ = self.heads[name](hiddens_BSH)
        return mean_BSZ, logvar_BSZ, mask_BS.bool()


def without_some(mask_EBS: Tensor, probability: float) -> Tensor:
    """Leave out each expert of an example with a probability, but never all of those that are there."""
    draw_EB1 = torch.rand(*mask_EBS.shape[:2], 1, device=mask_EBS.device).masked_fill(~mask_EBS.any(-1, keepdim=True), -1)
    return mask_EBS & ((draw_EB1 >= probability) | (draw_EB1 == draw_EB1.amax(0)))
