"""Masks over the grid of an image's patches."""

import torch
from torch import Tensor


# Shapes: H, W patches in a column and a row, N = H·W.
def block_mask(top: Tensor, left: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Blocks of one size on a grid.

    Args:
        top: First row of each block, any shape.
        left: First column of each block, shaped like ``top``.
        size: Rows and columns of every block.
        grid: Rows and columns of the grid.

    Returns:
        True inside its block, bool (*top.shape, H, W).

    Example:
        >>> block_mask(torch.tensor(0), torch.tensor(1), (1, 2), (2, 3)).int()
        tensor([[0, 1, 1], [0, 0, 0]], dtype=torch.int32)
    """
    rows, columns = _inside(top, size[0], grid[0]), _inside(left, size[1], grid[1])
    return rows[..., :, None] & columns[..., None, :]


def _inside(first: Tensor, length: int, total: int) -> Tensor:
    """Which of ``total`` places lie within ``length`` from ``first``, bool (*first.shape, total)."""
    index = torch.arange(total)
    return (index >= first[..., None]) & (index < first[..., None] + length)


def patch_indices(mask: Tensor) -> Tensor:
    """Indices of the patches that a mask holds.

    Args:
        mask: Bool (..., N), with K true entries in every row.

    Returns:
        Ascending indices, long (..., K).

    Raises:
        ValueError: If rows hold different numbers.
    """
    counts = mask.sum(-1)
    if counts.numel() and bool((counts != counts.flatten()[0]).any()):
        raise ValueError(f"The masks hold from {int(counts.min())} to {int(counts.max())} patches; indices need one number.")
    return mask.nonzero()[:, -1].view(*mask.shape[:-1], int(counts.max()) if counts.numel() else 0)


def grid_size(input_size: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns, from one number or from both."""
    height, width = (input_size, input_size) if isinstance(input_size, int) else input_size
    if height < 1 or width < 1:
        raise ValueError(f"A grid has at least one row and one column, got {height}x{width}.")
    return height, width
