import numpy as np
import pytest
import torch

from mmkit.modules.layers import ImageNormalize


@pytest.mark.parametrize(
    ("preset", "mean", "std"),
    [
        ("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("clip", [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
        ("half", [0.5] * 3, [0.5] * 3),
    ],
)
def test_bytes_are_scaled_and_normalised_per_channel(preset: str, mean: list[float], std: list[float]) -> None:
    image = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8)
    expected = (image.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    out = ImageNormalize(preset)(image)
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_own_mean_and_deviation_replace_the_preset() -> None:
    normalize = ImageNormalize(mean=[0.2], std=[0.4])
    assert normalize(torch.tensor([[[255]]], dtype=torch.uint8)).item() == pytest.approx(2.0)


def test_floating_point_images_pass_unchanged() -> None:
    image = torch.rand(1, 3, 2, 2, dtype=torch.float64)
    assert ImageNormalize()(image) is image


def test_the_dtype_of_autocast_is_used_where_it_is_on() -> None:
    image = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        assert ImageNormalize()(image).dtype == torch.bfloat16


def test_a_module_in_bfloat16_gives_bfloat16() -> None:
    assert ImageNormalize().bfloat16()(torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).dtype == torch.bfloat16


def test_constants_are_not_saved() -> None:
    assert not ImageNormalize().state_dict()


def test_another_number_of_channels_is_an_error_that_names_both() -> None:
    with pytest.raises(ValueError, match=r"have 1 channels, the normalisation 3. Use 'half'"):
        ImageNormalize()(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    assert ImageNormalize("half")(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)).unique().tolist() == [-1.0]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"Unknown image normalisation 'vit'. Allowed: imagenet, clip, half"):
        ImageNormalize("vit")
    with pytest.raises(ValueError, match="Give both mean and std or neither"):
        ImageNormalize(mean=[0.5])
