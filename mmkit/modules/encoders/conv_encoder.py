"""Small convolutional image encoder."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.modules.encoders.inputs import modality_input
from mmkit.modules.layers.image_normalize import ImageNormalize


# Shapes: B batch, C channels, H × W pixels, N positions of the last feature map, D embedding dim.


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions added to their input (https://arxiv.org/abs/1512.03385)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            # averaging keeps what a strided 1×1 convolution would skip: ResNet-D, https://arxiv.org/abs/1812.01187
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        branch = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x_BCHW)))))
        return F.relu(branch + self.shortcut(x_BCHW))


@external_store(group="modules/encoders")
class ConvEncoder(nn.Module):
    """Encode small images (about 32 to 128 pixels) with a residual network trained from scratch.

    Args:
        widths: Channels of each stage; all stages but the first halve height and width. The last is the embedding size D.
        depth: Residual blocks per stage.
        stem_stride: Stride of the 3×3 convolution in front.
        in_channels: Channels of the image.
        pooling: ``"avg"`` averages all positions; ``"none"`` gives them, (B, N, D).
        normalization: How integer pixels are normalised: ``"imagenet"``, ``"clip"`` or ``"half"`` (any number of channels).
        modality: The modality that is read.

    Raises:
        ValueError: Unknown pooling or normalisation.
    """

    def __init__(
        self,
        widths: list[int] | tuple[int, ...] = (32, 64, 128, 256),
        depth: int = 1,
        stem_stride: int = 2,
        in_channels: int = 3,
        pooling: str = "avg",
        normalization: str = "imagenet",
        modality: str = "rgb",
    ) -> None:
        super().__init__()
        if pooling not in ("avg", "none"):
            raise ValueError(f"Unknown pooling {pooling!r}. Allowed: avg, none.")
        self.modality, self.pooling = Modalities.get_modality(modality).name, pooling
        self.normalize = ImageNormalize(normalization)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, stride=stem_stride, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential()
        channels = widths[0]
        for stage, width in enumerate(widths):
            for i in range(depth):
                self.blocks.append(ResidualBlock(channels, width, stride=2 if stage > 0 and i == 0 else 1))
                channels = width

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Encode a batch of images.

        Args:
            inputs: Images (B, C, H, W) under the modality's name: integers from 0 to 255, or floating-point and normalised.

        Returns:
            Embeddings (B, D), or (B, N, D) without pooling.
        """
        x_BDHW = self.blocks(self.stem(self.normalize(modality_input(inputs, self.modality))))
        tokens_BND = x_BDHW.flatten(2).transpose(1, 2)
        return (tokens_BND.mean(dim=1) if self.pooling == "avg" else tokens_BND,)
