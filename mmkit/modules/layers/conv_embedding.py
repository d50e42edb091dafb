"""Convolutional stem as tokens."""

from itertools import pairwise

from torch import Tensor, nn

from mmkit.conf.store import external_store


@external_store(group="modules/layers")
class ConvEmbedding(nn.Module):
    """A stack of strided 3×3 convolutions in place of one patch projection (https://arxiv.org/abs/2106.14881).

    Every convolution but the last, which is 1×1 and has ``dim`` channels, is followed by batch norm and ReLU.

    Args:
        dim: Embedding size D.
        channels: Output channels of the 3×3 convolutions; each halves height and width, so four make patches of 16 pixels.
            ``[]`` is a linear map of single pixels.
        in_channels: Channels of the image.
    """

    def __init__(self, dim: int, channels: list[int], in_channels: int = 3) -> None:
        super().__init__()
        sizes = [in_channels, *channels]
        self.stem = nn.Sequential()
        for size, next_size in pairwise(sizes):
            self.stem.extend(
                [
                    nn.Conv2d(size, next_size, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(next_size),
                    nn.ReLU(inplace=True),
                ]
            )
        self.proj = nn.Conv2d(sizes[-1], dim, 1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Embed an image: (B, C, H, W) to (B, N, D), row by row."""
        return self.proj(self.stem(image_BCHW)).flatten(2).transpose(1, 2)
