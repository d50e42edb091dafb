"""Values that are pictures."""

from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor


_CHANNELS = (1, 3, 4)
_MIN_SIDE = 8  # fewer pixels a side: some other array of numbers


def as_picture(value: Any) -> Image.Image | None:
    """A picture to look at; None for what is none.

    Pictures are (channels, height, width) tensors, (height, width, channels) arrays, and what Pillow has. Of a sequence of
    them, (frames, channels, height, width), the first is taken. Those that are normalised are stretched to be visible.
    """
    if isinstance(value, Image.Image):
        return value.convert("RGB")
    if isinstance(value, Tensor):
        array_CHW = value.detach().cpu().float().numpy() if value.is_floating_point() else value.cpu().numpy()
        array_CHW = array_CHW[0] if array_CHW.ndim == 4 and len(array_CHW) else array_CHW
        return _drawn(np.moveaxis(array_CHW, 0, -1)) if array_CHW.ndim == 3 else None
    return _drawn(value) if isinstance(value, np.ndarray) and value.ndim == 3 else None


def _drawn(array_HWC: np.ndarray) -> Image.Image | None:
    height, width, channels = array_HWC.shape
    if channels not in _CHANNELS or min(height, width) < _MIN_SIDE or array_HWC.dtype.kind not in "uif":
        return None
    if array_HWC.dtype != np.uint8:
        array_HWC = _stretched(array_HWC.astype(np.float64))
    array_HWC = array_HWC[..., 0] if channels == 1 else array_HWC
    return Image.fromarray(np.ascontiguousarray(array_HWC)).convert("RGB")


def _stretched(array: np.ndarray) -> np.ndarray:
    low, high = np.nanmin(array), np.nanmax(array)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255 and high > 1:
        low, high = 0.0, 255.0
    return np.nan_to_num((array - low) / max(high - low, 1e-12) * 255).clip(0, 255).round().astype(np.uint8)
