"""Blocks of patches hidden for masked image modelling (BEiT, https://arxiv.org/abs/2106.08254, algorithm 1)."""

import math

import torch
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.masking.patches import block_mask, grid_size


MAX_FRUITLESS_BLOCKS = 10


# Shapes: B masks, H, W patches in a column and a row, N = H·W.
@external_store(group="datasets/masking")
class BlockwisePatchMaskGenerator:
    """Mask exactly ``num_masking_patches`` patches in rectangular blocks.

    Blocks of random area, shape and place are added until enough patches are hidden. BEiT stops early when no block fits;
    here the last block is cut to what is missing, in reading order, and where ten blocks in a row hide nothing new, a single
    patch is hidden.

    Args:
        input_size: Patches along a side, or rows and columns of patches.
        num_masking_patches: Patches that every mask hides.
        min_num_patches: Smallest area of a block, in patches.
        max_num_patches: Largest area of a block, in patches; default: ``num_masking_patches``.
        min_aspect_ratio: Smallest height divided by width of a block.
        max_aspect_ratio: Largest height divided by width of a block; default: ``1 / min_aspect_ratio``.

    Raises:
        ValueError: If the numbers do not fit the grid or each other.
    """

    def __init__(
        self,
        input_size: int | tuple[int, int],
        num_masking_patches: int,
        min_num_patches: int = 16,
        max_num_patches: int | None = None,
        min_aspect_ratio: float = 0.3,
        max_aspect_ratio: float | None = None,
    ) -> None:
        self.grid = grid_size(input_size)
        self.num_masking_patches = num_masking_patches
        self.area = (min_num_patches, max_num_patches or max(num_masking_patches, min_num_patches))
        self.aspect_ratio = (min_aspect_ratio, max_aspect_ratio or 1 / min_aspect_ratio)
        if not 0 <= num_masking_patches <= math.prod(self.grid):
            raise ValueError(
                f"num_masking_patches={num_masking_patches} does not fit a grid of {self.grid[0]}x{self.grid[1]} patches."
            )
        for name, (least, most) in {"num_patches": self.area, "aspect_ratio": self.aspect_ratio}.items():
            if not 0 < least <= most:
                raise ValueError(f"Expected 0 < min_{name} <= max_{name}, got {least} and {most}.")

    def __call__(self, batch_size: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Make masks.

        Args:
            batch_size: Number of masks, B, each drawn on its own.
            generator: Source of randomness; default: torch's.

        Returns:
            True on hidden patches, bool (B, N), patches in reading order.
        """
        masks = [self._mask(generator).flatten() for _ in range(batch_size)]
        return torch.stack(masks) if masks else torch.zeros(0, math.prod(self.grid), dtype=torch.bool)

    def _mask(self, generator: torch.Generator | None) -> Tensor:
        mask_HW = torch.zeros(self.grid, dtype=torch.bool)
        fruitless = 0
        while (missing := self.num_masking_patches - int(mask_HW.sum())) > 0:
            open_HW = ~mask_HW
            if fruitless < MAX_FRUITLESS_BLOCKS:
                new = (self._block(missing, generator) & open_HW).nonzero()[:missing]
            else:
                places = open_HW.nonzero()
                new = places[torch.randint(len(places), (1,), generator=generator)]
            mask_HW[new[:, 0], new[:, 1]] = True
            fruitless = 0 if len(new) else fruitless + 1
        return mask_HW

    def _block(self, missing: int, generator: torch.Generator | None) -> Tensor:
        """One block (H, W), no larger than what is missing unless that is less than the smallest area."""
        draw_area, draw_shape, draw_top, draw_left = torch.rand(4, generator=generator).tolist()
        least, most = self.area[0], max(self.area[0], min(self.area[1], missing))
        area = least + draw_area * (most - least)
        low, high = map(math.log, self.aspect_ratio)
        ratio = math.exp(low + draw_shape * (high - low))
        height = min(max(round(math.sqrt(area * ratio)), 1), self.grid[0])
        width = min(max(round(math.sqrt(area / ratio)), 1), self.grid[1])
        top = int(draw_top * (self.grid[0] - height + 1))
        left = int(draw_left * (self.grid[1] - width + 1))
        return block_mask(torch.tensor(top), torch.tensor(left), (height, width), self.grid)
