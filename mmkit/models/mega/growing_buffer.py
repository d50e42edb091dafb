"""Tensors that are written to a column at a time, without copying what is there already."""

# Shapes: B batch, S columns of the buffer, T new columns, X features (any number of dims).
import torch
from torch import Tensor


MIN_CAPACITY = 64


def write(buffer_BSX: Tensor | None, at: int, x_BTX: Tensor, capacity: int) -> Tensor:
    """The buffer with ``x_BTX`` at columns ``at`` and following; columns behind them are undefined.

    Writes in place where there is room. Otherwise the result has room for ``capacity`` columns. While gradients are
    recorded nothing is written in place, because earlier steps need their keys and values for the way back.
    """
    end = at + x_BTX.shape[1]
    if torch.is_grad_enabled():
        return x_BTX if buffer_BSX is None or at == 0 else torch.cat([buffer_BSX[:, :at], x_BTX], dim=1)
    if buffer_BSX is None or not _is_writable(buffer_BSX, end, x_BTX.dtype):
        buffer_BSX = _enlarged(buffer_BSX, at, x_BTX, max(end, capacity))
    buffer_BSX[:, at:end] = x_BTX
    return buffer_BSX


def doubled(columns: int) -> int:
    """Room for as many columns again, so that the cost of copying stays constant for each column."""
    return max(2 * columns, MIN_CAPACITY)


def _is_writable(buffer_BSX: Tensor, end: int, dtype: torch.dtype) -> bool:
    # Outside of inference mode, tensors made within it are read-only.
    frozen = buffer_BSX.is_inference() and not torch.is_inference_mode_enabled()
    widened = torch.promote_types(buffer_BSX.dtype, dtype) != buffer_BSX.dtype
    return end <= buffer_BSX.shape[1] and not (buffer_BSX.requires_grad or frozen or widened)


def _enlarged(buffer_BSX: Tensor | None, at: int, like_BTX: Tensor, capacity: int) -> Tensor:
    dtype = like_BTX.dtype if buffer_BSX is None else torch.promote_types(buffer_BSX.dtype, like_BTX.dtype)
    # Zeros, because what is hidden from attention by a weight of zero must still be finite.
    larger_BSX = like_BTX.new_zeros((like_BTX.shape[0], capacity, *like_BTX.shape[2:]), dtype=dtype)
    if buffer_BSX is not None:
        larger_BSX[:, :at] = buffer_BSX[:, :at]
    return larger_BSX
