"""Where a column lies in its chunk: slot = position modulo the chunk's size."""

# Shapes: B batch, T new columns, C slots of a chunk, X features (any number of dims).
import torch
from torch import Tensor

from mmkit.models.mega.growing_buffer import write


def put(buffer_BCX: Tensor | None, x_BTX: Tensor, first: int | Tensor, size: int) -> Tensor:
    """Write columns from position ``first`` on, and keep those of the last one's chunk.

    ``first`` is one for all rows, or one a row (B,); it is negative where a row begins with padding.
    """
    if isinstance(first, Tensor):
        return _put_by_row(buffer_BCX, x_BTX, first, size)
    last = (first + x_BTX.shape[1] - 1) % size
    kept = min(x_BTX.shape[1], last + 1)
    return write(buffer_BCX, last + 1 - kept, x_BTX[:, x_BTX.shape[1] - kept :], size)


def _put_by_row(buffer_BCX: Tensor | None, x_BTX: Tensor, first_B: Tensor, size: int) -> Tensor:
    length = x_BTX.shape[1]
    last_B = first_B + (length - 1)
    begin_B = last_B - last_B % size
    source_BC = (begin_B - first_B).unsqueeze(1) + torch.arange(size, device=x_BTX.device)
    new_BCX = take(x_BTX, source_BC.clamp(0, length - 1))
    if buffer_BCX is None:
        return new_BCX
    is_new_BC = (source_BC >= 0) & (source_BC < length)
    return torch.where(is_new_BC.view(*is_new_BC.shape, *[1] * (x_BTX.dim() - 2)), new_BCX, buffer_BCX)


def history_by_row(keys_BCZ: Tensor, values_BCH: Tensor, mask_BC: Tensor | None, used_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move the ``used_B`` first slots of each row to the end of the chunk, behind as much padding as needed."""
    size = keys_BCZ.shape[1]
    source_BC = torch.arange(size, device=used_B.device) - (size - used_B).unsqueeze(1)
    is_used_BC = source_BC >= 0
    source_BC = source_BC.clamp(min=0)
    mask_BC = is_used_BC if mask_BC is None else take(mask_BC, source_BC) & is_used_BC
    return take(keys_BCZ, source_BC), take(values_BCH, source_BC), mask_BC


def take(x_BTX: Tensor, index_BC: Tensor) -> Tensor:
    """The columns ``index_BC`` of each row."""
    row_B1 = torch.arange(x_BTX.shape[0], device=x_BTX.device).unsqueeze(1)
    return x_BTX[row_B1, index_BC]
