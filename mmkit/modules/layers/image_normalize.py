"""Normalisation of images on the device."""

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store


# Per channel (mean, standard deviation) of pixels in [0, 1]. One number serves any number of channels.
PRESETS: dict[str, tuple[list[float], list[float]]] = {
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "clip": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "half": ([0.5], [0.5]),
}


@external_store(group="modules/layers")
class ImageNormalize(nn.Module):
    """Turn integer pixels into normalised ones: (x / 255 - mean) / std. Floating-point images pass unchanged.

    Images travel as bytes and are normalised where the encoder runs, which costs the loader nothing and the bus a quarter.

    Args:
        preset: ``"imagenet"``, ``"clip"`` or ``"half"`` (mean and deviation 0.5, any number of channels).
        mean: Mean of each channel, in [0, 1], in place of the preset's.
        std: Standard deviation of each channel, in place of the preset's.

    Raises:
        ValueError: Unknown preset, or only one of ``mean`` and ``std``.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, preset: str = "imagenet", mean: list[float] | None = None, std: list[float] | None = None) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"Unknown image normalisation {preset!r}. Allowed: {', '.join(PRESETS)}.")
        if (mean is None) != (std is None):
            raise ValueError(f"Give both mean and std or neither, got mean={mean} and std={std}.")
        mean_C, std_C = torch.tensor((mean, std) if mean is not None else PRESETS[preset], dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * std_C))[:, None, None].float(), persistent=False)
        self.register_buffer("shift", (-mean_C / std_C)[:, None, None].float(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise an image of shape (..., C, H, W).

        Returns:
            The image in the dtype of autocast where that is on, otherwise in that of this module.

        Raises:
            ValueError: The number of channels is not that of ``mean``.
        """
        if image.is_floating_point():
            return image
        if len(self.scale) not in (1, image.shape[-3]):
            raise ValueError(
                f"Images of shape {tuple(image.shape)} have {image.shape[-3]} channels, the normalisation {len(self.scale)}. "
                "Use 'half', which fits any number, or a mean and std per channel."
            )
        normalized = torch.addcmul(self.shift, image.to(self.scale.dtype), self.scale)
        kind = image.device.type
        return normalized.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else normalized
