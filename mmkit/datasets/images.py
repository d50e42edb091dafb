"""Image files and images of any mode as uint8 tensors."""

import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mmkit.errors import RefusedError


WHITE = (255, 255, 255)


# Shapes: C channels, H height, W width.
def load_image(path: str | Path, background: tuple[int, int, int] = WHITE) -> Tensor:
    """Read an image file.

    Args:
        path: A file of any format that Pillow reads.
        background: Colour behind transparent pixels.

    Returns:
        The image as RGB, uint8 (3, H, W).

    Raises:
        RefusedError: If the file does not exist, is no image, or is truncated; names the file.
    """
    try:
        with Image.open(path) as image:
            return as_rgb_tensor(image, background)
    except FileNotFoundError as error:
        raise RefusedError(f"The image {path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise RefusedError(f"{path} is no image in a format that Pillow knows.") from error
    except (OSError, EOFError, SyntaxError, ValueError, struct.error) as error:  # each from another format's decoder
        raise RefusedError(f"The image {path} cannot be read: {error}. Replace the file or leave it out.") from error


def as_rgb_tensor(image: Image.Image | Tensor, background: tuple[int, int, int] = WHITE) -> Tensor:
    """Bring an image to RGB, uint8 (3, H, W).

    Args:
        image: A Pillow image of any mode, or a uint8 tensor (C, H, W) with one channel (grey), three (RGB) or four (RGBA).
        background: Colour behind transparent pixels.

    Raises:
        TypeError: If ``image`` is neither, or a tensor of another dtype.
        ValueError: If a tensor has another shape.
    """
    if isinstance(image, Image.Image):
        mode = "RGBA" if image.has_transparency_data else "RGB"
        image_CHW = torch.from_numpy(np.array(image.convert(mode))).permute(2, 0, 1).contiguous()
    elif isinstance(image, Tensor):
        image_CHW = _check_tensor(image)
    else:
        raise TypeError(f"Expected a Pillow image or a uint8 tensor (C, H, W), got {type(image).__name__}.")
    if image_CHW.shape[0] == 4:
        return _blend(image_CHW, background)
    return image_CHW.expand(3, -1, -1).contiguous() if image_CHW.shape[0] == 1 else image_CHW


def _check_tensor(image: Tensor) -> Tensor:
    if image.dtype != torch.uint8:
        raise TypeError(f"Image tensors are uint8 until the encoder normalises them, got {image.dtype}. Transform before that.")
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
        raise ValueError(f"Expected one image (C, H, W) with 1, 3 or 4 channels, got shape {tuple(image.shape)}.")
    return image


def _blend(rgba_CHW: Tensor, background: tuple[int, int, int]) -> Tensor:
    """Lay an RGBA image over a colour; rounds to the nearest value."""
    alpha_1HW = rgba_CHW[3:].int()
    colour_C11 = torch.tensor(background, dtype=torch.int, device=rgba_CHW.device).view(3, 1, 1)
    return ((rgba_CHW[:3].int() * alpha_1HW + colour_C11 * (255 - alpha_1HW) + 127) // 255).to(torch.uint8)
