import torch

from mmkit.modules.layers import ConvEmbedding


def test_each_convolution_halves_height_and_width() -> None:
    assert ConvEmbedding(6, channels=[4, 8, 8])(torch.randn(2, 3, 32, 16)).shape == (2, 4 * 2, 6)


def test_without_convolutions_pixels_are_projected() -> None:
    embed, image = ConvEmbedding(6, channels=[], in_channels=1), torch.randn(2, 1, 2, 3)
    expected = image.flatten(2).transpose(1, 2) * embed.proj.weight[:, 0, 0, 0] + embed.proj.bias
    assert torch.allclose(embed(image), expected, atol=1e-6)
