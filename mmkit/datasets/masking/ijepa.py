"""Context and targets of I-JEPA (https://arxiv.org/abs/2301.08243, §3 and appendix A.1)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.masking.patches import block_mask, grid_size, patch_indices


MAX_ATTEMPTS = 100


# Shapes: B examples, T targets, H, W patches in a column and a row, N = H·W.
class IJEPAMasks(NamedTuple):
    """What the context encoder sees and what is predicted from it; patches in reading order.

    Attributes:
        context: True on the patches of the context, bool (B, N); as many in every example.
        targets: True on the patches of each target, bool (B, T, N); as many in every target.
    """

    context: Tensor
    targets: Tensor

    @property
    def context_indices(self) -> Tensor:
        """Indices of the context's patches, long (B, K)."""
        return patch_indices(self.context)

    @property
    def target_indices(self) -> Tensor:
        """Indices of each target's patches, long (B, T, K)."""
        return patch_indices(self.targets)


@external_store(group="datasets/masking")
class IJEPAMaskGenerator:
    """Draw several target blocks and one context block that excludes them, anew for every example.

    The sizes of the blocks are drawn once a batch, their places for every example. So that a batch is one tensor, every
    context is reduced, by random patches, to the number of the smallest one of the batch.

    Args:
        input_size: Pixels along a side of the image, or its height and width.
        patch_size: Pixels along a side of a patch.
        min_keep: Fewest patches of a context; an example with fewer is drawn again.
        allow_overlap: Let the context keep the patches of its targets.
        enc_mask_scale: Share of all patches that the context block covers before the targets are taken out, least and most.
        pred_mask_scale: Share of all patches that a target covers, least and most.
        aspect_ratio: Height divided by width of a target, least and most; the context block is as square as the grid.
        npred: Number of targets.

    Raises:
        ValueError: If the patch size does not divide the image, or a range is not within its bounds.
    """

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        min_keep: int = 10,
        allow_overlap: bool = False,
        enc_mask_scale: tuple[float, float] = (0.85, 1.0),
        pred_mask_scale: tuple[float, float] = (0.15, 0.2),
        aspect_ratio: tuple[float, float] = (0.75, 1.5),
        npred: int = 4,
    ) -> None:
        height, width = grid_size(input_size)
        if height % patch_size or width % patch_size:
            raise ValueError(f"patch_size={patch_size} does not divide the image of {height}x{width} pixels.")
        for name, (least, most) in {"enc_mask_scale": enc_mask_scale, "pred_mask_scale": pred_mask_scale}.items():
            if not 0 < least <= most <= 1:
                raise ValueError(f"{name} must be a range within (0, 1], got {least} to {most}.")
        if not 0 < aspect_ratio[0] <= aspect_ratio[1]:
            raise ValueError(f"aspect_ratio must be a range of positive numbers, got {aspect_ratio[0]} to {aspect_ratio[1]}.")
        if npred < 1 or min_keep < 1:
            raise ValueError(f"npred and min_keep must be at least 1, got {npred} and {min_keep}.")
        self.grid = (height // patch_size, width // patch_size)
        self.min_keep = min_keep
        self.allow_overlap = allow_overlap
        self.enc_mask_scale = enc_mask_scale
        self.pred_mask_scale = pred_mask_scale
        self.aspect_ratio = aspect_ratio
        self.npred = npred

    def __call__(self, batch_size: int = 1, generator: torch.Generator | None = None) -> IJEPAMasks:
        """Draw the masks of a batch of ``batch_size`` examples.

        Args:
            batch_size: Number of examples, B.
            generator: Source of randomness; default: torch's.

        Raises:
            ValueError: If some example has no context of ``min_keep`` patches after 100 attempts.
        """
        square = self.grid[0] / self.grid[1]
        context_size = self._block_size(self.enc_mask_scale, (square, square), generator)
        target_size = self._block_size(self.pred_mask_scale, self.aspect_ratio, generator)
        context_BN, targets_BTN = self._draw(batch_size, context_size, target_size, generator)
        for _ in range(MAX_ATTEMPTS):
            poor = (context_BN.sum(-1) < self.min_keep).nonzero().squeeze(-1)
            if len(poor) == 0:
                return IJEPAMasks(_reduce_to_smallest(context_BN, generator), targets_BTN)
            context_BN[poor], targets_BTN[poor] = self._draw(len(poor), context_size, target_size, generator)
        raise ValueError(
            f"{self.npred} targets of {target_size[0]}x{target_size[1]} leave fewer than min_keep={self.min_keep} patches of a "
            f"context of {context_size[0]}x{context_size[1]}. Lower `npred`, `pred_mask_scale` or `min_keep`."
        )

    def _block_size(
        self, scale: tuple[float, float], aspect_ratio: tuple[float, float], generator: torch.Generator | None
    ) -> tuple[int, int]:
        draw_scale, draw_ratio = torch.rand(2, generator=generator).tolist()
        area = math.prod(self.grid) * (scale[0] + draw_scale * (scale[1] - scale[0]))
        ratio = aspect_ratio[0] + draw_ratio * (aspect_ratio[1] - aspect_ratio[0])
        height = min(max(round(math.sqrt(area * ratio)), 1), self.grid[0])
        return height, min(max(round(math.sqrt(area / ratio)), 1), self.grid[1])

    def _draw(
        self, batch_size: int, context_size: tuple[int, int], target_size: tuple[int, int], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Contexts (B, N) without their targets, and targets (B, T, N)."""
        targets_BTHW = self._place((batch_size, self.npred), target_size, generator)
        context_BHW = self._place((batch_size,), context_size, generator)
        if not self.allow_overlap:
            context_BHW &= ~targets_BTHW.any(1)
        return context_BHW.flatten(-2), targets_BTHW.flatten(-2)

    def _place(self, shape: tuple[int, ...], size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
        """Blocks (*shape, H, W) of one size, each at a place of its own."""
        top = torch.randint(self.grid[0] - size[0] + 1, shape, generator=generator)
        left = torch.randint(self.grid[1] - size[1] + 1, shape, generator=generator)
        return block_mask(top, left, size, self.grid)


def _reduce_to_smallest(mask_BN: Tensor, generator: torch.Generator | None) -> Tensor:
    """Keep as many patches of every row as the row with the fewest has, each equally likely to stay."""
    if len(mask_BN) == 0:
        return mask_BN
    num_kept = int(mask_BN.sum(-1).min())
    score_BN = torch.rand(mask_BN.shape, generator=generator).masked_fill(~mask_BN, -1)
    kept = score_BN.topk(num_kept, dim=-1).indices
    return torch.zeros_like(mask_BN).scatter(-1, kept, True)
