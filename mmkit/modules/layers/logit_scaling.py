"""Learnable scale of embeddings."""

import math

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store


@external_store(group="modules/layers")
class LearnableLogitScaling(nn.Module):
    """Multiply embeddings by a learnable positive scale, as ImageBind's postprocessors do (https://arxiv.org/abs/2305.05665).

    It stands after :class:`L2Norm`: the similarities of the loss are then scaled by it. The logarithm of the scale is learned,
    so that the scale stays positive. Entries beyond the maximum are pulled back before each training step; clamping the output
    alone would leave them without a gradient for good.

    Args:
        logit_scale_init: Initial scale, the inverse of a temperature.
        learnable: Whether the scale is trained.
        max_logit_scale: Largest scale.
        modalities: Names of modalities that have a scale each; ``forward`` then takes the name. Default: one scale for all.

    Raises:
        ValueError: The initial scale is not in (0, max_logit_scale].
    """

    log_logit_scale: Tensor
    """Logarithm of the scale: a scalar, or one entry per modality."""

    def __init__(
        self,
        logit_scale_init: float = 1 / 0.07,
        learnable: bool = True,
        max_logit_scale: float = 100.0,
        modalities: list[str] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < logit_scale_init <= max_logit_scale:
            raise ValueError(f"logit_scale_init={logit_scale_init} must lie in (0, max_logit_scale={max_logit_scale}].")
        self.learnable, self.max_logit_scale, self.modalities = learnable, max_logit_scale, modalities
        log_scale = torch.full([len(modalities)] if modalities else [], math.log(logit_scale_init))
        if learnable:
            self.log_logit_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_logit_scale", log_scale)

    def forward(self, x: Tensor, modality: str | None = None) -> Tensor:
        """Scale ``x`` of any shape.

        Args:
            x: Embeddings.
            modality: Whose scale to use, if ``modalities`` was given.

        Raises:
            ValueError: ``modality`` is not one of ``modalities``.
        """
        if self.training and self.learnable:
            with torch.no_grad():
                self.log_logit_scale.clamp_(max=math.log(self.max_logit_scale))
        scale = self.log_logit_scale.exp().clamp(max=self.max_logit_scale)
        if self.modalities:
            scale = scale[_index(modality, self.modalities)]
        return x * scale

    def extra_repr(self) -> str:
        return f"learnable={self.learnable}, max_logit_scale={self.max_logit_scale}, modalities={self.modalities}"


def _index(modality: str | None, modalities: list[str]) -> int:
    if modality not in modalities:
        raise ValueError(f"There is no logit scale for the modality {modality!r}. There are: {', '.join(modalities)}.")
    return modalities.index(modality)
