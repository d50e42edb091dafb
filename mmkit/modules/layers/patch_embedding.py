"""Patches of an image as tokens."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store


# Shapes: B batch, C channels, H × W pixels, h × w patches, N = h·w, D embedding dim.


def height_and_width(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """``(height, width)`` from one number for both or a pair.

    Raises:
        ValueError: Not one or two positive numbers.
    """
    height, width = (size, size) if isinstance(size, int) else size if len(size) == 2 else (0, 0)
    if height < 1 or width < 1:
        raise ValueError(f"A size is a positive number or [height, width], got {size!r}.")
    return height, width


@external_store(group="modules/layers")
class PatchEmbedding(nn.Module):
    """Project non-overlapping patches, row by row (https://arxiv.org/abs/2010.11929).

    Args:
        dim: Embedding size D.
        patch_size: Side of a patch in pixels, or [height, width].
        in_channels: Channels C of the image.
    """

    def __init__(self, dim: int, patch_size: int | list[int] = 16, in_channels: int = 3) -> None:
        super().__init__()
        self.patch_size = height_and_width(patch_size)
        self.proj = nn.Conv2d(in_channels, dim, self.patch_size, stride=self.patch_size)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Number of patches (h, w) of an image; one that is cut off at the border counts."""
        return -(-height // self.patch_size[0]), -(-width // self.patch_size[1])

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Embed an image of any size: (B, C, H, W) to (B, N, D); patches that are cut off are filled with zeros."""
        height, width = image_BCHW.shape[-2:]
        padded = F.pad(image_BCHW, (0, -width % self.patch_size[1], 0, -height % self.patch_size[0]))
        return self.proj(padded).flatten(2).transpose(1, 2)


def resize_position_embedding(x_1ND: Tensor, old_grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """Interpolate the position embeddings of a grid of patches for another grid.

    Args:
        x_1ND: Position embeddings, row by row, of shape (1, h·w, D).
        old_grid: Their (h, w).
        new_grid: The (h, w) that is wanted.

    Returns:
        Position embeddings of shape (1, h·w, D) for the new grid, bicubic; the same tensor if the grids are equal.
    """
    if new_grid == old_grid:
        return x_1ND
    x_1Dhw = x_1ND.unflatten(1, old_grid).permute(0, 3, 1, 2).float()  # bicubic is not implemented in half precision everywhere
    return F.interpolate(x_1Dhw, new_grid, mode="bicubic").flatten(2).transpose(1, 2).to(x_1ND.dtype)
