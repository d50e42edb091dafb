import pytest
import torch

from mmkit.modules.encoders import ConvEncoder
from mmkit.modules.layers import ImageNormalize


@pytest.mark.parametrize("size", [(16, 16), (15, 22)])
def test_bytes_of_any_size_are_embedded(size: tuple[int, int]) -> None:
    image = torch.randint(256, (2, 3, *size), dtype=torch.uint8)
    assert ConvEncoder([4, 8])({"rgb": image})[0].shape == (2, 8)


def test_the_average_is_that_of_the_positions() -> None:
    pooled, positions = ConvEncoder([4, 8]).eval(), ConvEncoder([4, 8], pooling="none").eval()
    positions.load_state_dict(pooled.state_dict())
    image = torch.randn(2, 3, 16, 8)
    out = positions({"rgb": image})[0]
    assert out.shape == (2, 4 * 2, 8)
    assert torch.allclose(pooled({"rgb": image})[0], out.mean(1), atol=1e-6)


def test_bytes_are_normalised_by_the_encoder() -> None:
    encoder, image = ConvEncoder([4]).eval(), torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(encoder({"rgb": image})[0], encoder({"rgb": ImageNormalize("imagenet")(image)})[0])


def test_depth_counts_the_blocks_of_a_stage() -> None:
    assert [len(ConvEncoder([4, 8, 8], depth=depth).blocks) for depth in (0, 1, 2)] == [0, 3, 6]


def test_every_parameter_gets_a_gradient() -> None:
    encoder = ConvEncoder([4, 8])
    encoder({"rgb": torch.randn(2, 3, 8, 8)})[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_an_unknown_pooling_lists_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"Unknown pooling 'cls'. Allowed: avg, none"):
        ConvEncoder(pooling="cls")
