"""Image transforms of torchvision. All take a Pillow image or a uint8 tensor (C, H, W) and return uint8 RGB (3, H, W).

Nothing here normalises: images leave the loader as bytes, and the encoder normalises them on its device.
Randomness is torch's, so it follows the seed of the run and of the worker.
"""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.images import as_rgb_tensor
from mmkit.extras import require


ImageTransform = Callable[[Image.Image | Tensor], Tensor]
AUGMENTATION_POLICIES = {
    "trivial_augment": "TrivialAugmentWide",  # https://arxiv.org/abs/2103.10158
    "rand_augment": "RandAugment",  # https://arxiv.org/abs/1909.13719
    "auto_augment": "AutoAugment",  # https://arxiv.org/abs/1805.09501
    "aug_mix": "AugMix",  # https://arxiv.org/abs/1912.02781
}


@external_store(group="datasets/transforms")
def image_train_transform(
    size: int | tuple[int, int],
    scale: tuple[float, float] = (0.5, 1.0),
    ratio: tuple[float, float] = (0.75, 1.3333),
    flip: float = 0.5,
    color_jitter: float = 0.0,
    grayscale: float = 0.0,
    augmentation: Callable[[Tensor], Tensor] | None = None,
    interpolation: str = "bicubic",
) -> ImageTransform:
    """Make a transform that crops, resizes and flips at random.

    Args:
        size: Side of the result in pixels, or its height and width.
        scale: Share of the image's area that the crop covers, least and most.
        ratio: Width of the crop divided by its height, least and most.
        flip: Probability of mirroring left and right; 0 if the captions tell left from right.
        color_jitter: Strength of random brightness, contrast and saturation, and half of it of hue; 0 is none.
        grayscale: Probability of removing the colours.
        augmentation: Applied last, e.g. :func:`image_augmentation`.
        interpolation: How pixels are resampled: ``nearest``, ``bilinear`` or ``bicubic``, always antialiased.

    Returns:
        A function of one image; see the head of this module.
    """
    v2 = _torchvision_v2("image_train_transform")
    strength = color_jitter
    steps = [
        as_rgb_tensor,
        v2.RandomResizedCrop(size, scale=tuple(scale), ratio=tuple(ratio), interpolation=_interpolation(interpolation)),
        *([v2.RandomHorizontalFlip(flip)] if flip else []),
        *([v2.ColorJitter(strength, strength, strength, min(strength / 2, 0.5))] if strength else []),
        *([v2.RandomGrayscale(grayscale)] if grayscale else []),
        *([augmentation] if augmentation is not None else []),
    ]
    return v2.Compose(steps)


@external_store(group="datasets/transforms")
def image_eval_transform(size: int | tuple[int, int], crop_ratio: float = 1.0, interpolation: str = "bicubic") -> ImageTransform:
    """Make a transform that resizes the shorter side and crops the centre; no randomness.

    Args:
        size: Side of the result in pixels, or its height and width.
        crop_ratio: Side of the crop divided by the resized shorter side, in (0, 1]; 0.875 is ImageNet's custom.
        interpolation: How pixels are resampled: ``nearest``, ``bilinear`` or ``bicubic``, always antialiased.

    Returns:
        A function of one image; see the head of this module.
    """
    if not 0 < crop_ratio <= 1:
        raise ValueError(f"crop_ratio must be in (0, 1], got {crop_ratio}.")
    v2 = _torchvision_v2("image_eval_transform")
    height, width = (size, size) if isinstance(size, int) else size
    # A result that is not square is cut out of a square: it is resized by its longer side.
    resize = v2.Resize(round(max(height, width) / crop_ratio), interpolation=_interpolation(interpolation))
    return v2.Compose([as_rgb_tensor, resize, v2.CenterCrop((height, width))])


@external_store(group="datasets/transforms")
def image_augmentation(policy: str = "trivial_augment", policy_kwargs: dict[str, Any] | None = None) -> ImageTransform:
    """Make an augmentation by a published policy; the size stays.

    Args:
        policy: ``trivial_augment``, ``rand_augment``, ``auto_augment`` or ``aug_mix``.
        policy_kwargs: Arguments of torchvision's class, e.g. ``{"num_ops": 2, "magnitude": 9}`` for ``rand_augment``.

    Returns:
        A function of one image; see the head of this module.
    """
    if policy not in AUGMENTATION_POLICIES:
        raise ValueError(f"Unknown policy {policy!r}. Choose one of: {', '.join(AUGMENTATION_POLICIES)}.")
    v2 = _torchvision_v2("image_augmentation")
    return v2.Compose([as_rgb_tensor, getattr(v2, AUGMENTATION_POLICIES[policy])(**policy_kwargs or {})])


@external_store(group="datasets/transforms")
class RepeatChannels:
    """Repeat the channel of one-channel data such as depth or thermal images, so that an encoder of RGB takes it.

    Args:
        num_repeats: Number of channels of the result.
    """

    def __init__(self, num_repeats: int = 3) -> None:
        if num_repeats < 1:
            raise ValueError(f"num_repeats must be at least 1, got {num_repeats}.")
        self.num_repeats = num_repeats

    def __call__(self, image: Tensor) -> Tensor:
        """Turn (..., 1, H, W) of any dtype into (..., num_repeats, H, W)."""
        if not isinstance(image, torch.Tensor) or image.ndim < 3 or image.shape[-3] != 1:
            given = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
            raise ValueError(f"RepeatChannels takes a tensor of shape (..., 1, H, W), got {given}.")
        return image.repeat_interleave(self.num_repeats, dim=-3)


def _torchvision_v2(needed_by: str) -> Any:
    return require("torchvision.transforms.v2", extra="vision", needed_by=needed_by)


def _interpolation(name: str) -> Any:
    modes = {mode.value: mode for mode in _torchvision_v2("interpolation").InterpolationMode}
    if name not in ("nearest", "bilinear", "bicubic"):
        raise ValueError(f"Unknown interpolation {name!r}. Choose one of: nearest, bilinear, bicubic.")
    return modes[name]
