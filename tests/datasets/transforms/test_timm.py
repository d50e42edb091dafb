import pytest
import torch
from torch import Tensor

from mmkit.datasets.transforms import timm_transform


pytest.importorskip("timm")


@pytest.fixture
def image() -> Tensor:
    return torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("is_training", [True, False])
def test_images_become_bytes_of_the_asked_size(is_training: bool, image: Tensor) -> None:
    transform = timm_transform(32, is_training=is_training)
    for given in (image, image[:1]):
        result = transform(given)
        assert (result.dtype, tuple(result.shape)) == (torch.uint8, (3, 32, 32))


def test_a_model_decides_size_and_crop(image: Tensor) -> None:
    assert timm_transform(model="vit_tiny_patch16_224")(image).shape == (3, 224, 224)
    assert timm_transform(48, model="vit_tiny_patch16_224.augreg_in21k_ft_in1k")(image).shape == (3, 48, 48)


def test_arguments_reach_timm(image: Tensor) -> None:
    plain, mirrored = (timm_transform(32, is_training=True, timm_kwargs={"no_aug": no_aug}) for no_aug in (True, False))
    assert "RandomResizedCrop" not in repr(plain.transform)
    assert "RandomResizedCrop" in repr(mirrored.transform)


def test_without_size_and_model_or_with_an_unknown_model_it_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a `size`, a `model`, or both"):
        timm_transform()
    with pytest.raises(ValueError, match=r"timm knows no model 'vit_tony'\. It knows, e.g.:"):
        timm_transform(model="vit_tony")
