import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmkit.datasets.transforms import RepeatChannels, image_augmentation, image_eval_transform, image_train_transform


pytest.importorskip("torchvision")
MAKERS = [
    pytest.param(lambda: image_train_transform(8, color_jitter=0.4, grayscale=0.2), id="train"),
    pytest.param(lambda: image_train_transform(8, augmentation=image_augmentation()), id="train with augmentation"),
    pytest.param(lambda: image_eval_transform(8, crop_ratio=0.875), id="eval"),
]


@pytest.fixture
def image() -> Tensor:
    return torch.randint(0, 256, (3, 12, 18), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def as_pillow(image_CHW: Tensor) -> Image.Image:
    return Image.fromarray(image_CHW.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("make", MAKERS)
def test_images_of_every_kind_become_bytes_of_the_asked_size(make, image: Tensor) -> None:
    transform = make()
    for given in (image, image[:1], as_pillow(image), as_pillow(image).convert("L"), as_pillow(image).convert("RGBA")):
        result = transform(given)
        assert (type(result), result.dtype, tuple(result.shape)) == (Tensor, torch.uint8, (3, 8, 8))


@pytest.mark.parametrize("make", MAKERS)
def test_a_tensor_and_a_pillow_image_give_the_same(make, image: Tensor) -> None:
    results = []
    for given in (image, as_pillow(image)):
        torch.manual_seed(0)
        results.append(make()(given))
    assert torch.equal(*results)


def test_training_follows_the_seed_and_evaluation_has_no_randomness(image: Tensor) -> None:
    train, evaluate, results = image_train_transform(8), image_eval_transform(8), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append((train(image), evaluate(image)))
    assert torch.equal(results[0][0], results[1][0])
    assert not torch.equal(results[0][0], results[2][0])
    assert torch.equal(results[0][1], results[2][1])


def test_evaluation_resizes_the_shorter_side_and_crops_the_centre() -> None:
    image = torch.zeros(3, 8, 16, dtype=torch.uint8)
    image[:, 2:6, 6:10] = 200
    assert torch.equal(image_eval_transform(8)(image), image[:, :, 4:12])
    # half the side: the image is first enlarged to 16x32, so the crop shows the middle 4x4 of the original, which is flat
    assert image_eval_transform(8, crop_ratio=0.5, interpolation="nearest")(image).unique().tolist() == [200]


def test_a_result_need_not_be_square(image: Tensor) -> None:
    assert image_eval_transform((4, 6))(image).shape == (3, 4, 6)
    assert image_train_transform((4, 6))(image).shape == (3, 4, 6)


def test_a_flip_of_probability_one_mirrors_the_image(image: Tensor) -> None:
    square = image[:, :, :12]
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "interpolation": "nearest"}
    assert torch.equal(image_train_transform(12, flip=1.0, **whole)(square), square.flip(-1))
    assert torch.equal(image_train_transform(12, flip=0.0, **whole)(square), square)


def test_a_grayscale_of_probability_one_removes_the_colours(image: Tensor) -> None:
    grey = image_train_transform(8, grayscale=1.0)(image)
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_the_area_of_the_crop_follows_its_scale() -> None:
    """Cropping a ramp from 0 to 255 by a quarter of its area must leave about half its range."""
    torch.manual_seed(0)
    ramp = torch.arange(256, dtype=torch.uint8).expand(3, 256, 256).contiguous()
    crop = image_train_transform(256, scale=(0.25, 0.25), ratio=(1.0, 1.0), flip=0.0, interpolation="nearest")
    ranges = [int(result.max()) - int(result.min()) for result in (crop(ramp) for _ in range(4))]
    assert np.allclose(ranges, 127, atol=2)


@pytest.mark.parametrize("policy", ["trivial_augment", "rand_augment", "auto_augment", "aug_mix"])
def test_every_policy_keeps_size_and_dtype_and_follows_the_seed(policy: str, image: Tensor) -> None:
    augment, results = image_augmentation(policy), []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(augment(image))
    assert torch.equal(*results)
    assert (results[0].dtype, results[0].shape) == (torch.uint8, image.shape)


@pytest.mark.parametrize("make", MAKERS)
def test_a_transform_travels_to_worker_processes(make, image: Tensor) -> None:
    assert pickle.loads(pickle.dumps(make()))(image).shape == (3, 8, 8)


def test_channels_are_repeated() -> None:
    depth = torch.arange(4.0).view(1, 2, 2)
    assert torch.equal(RepeatChannels()(depth), torch.stack([depth[0]] * 3))
    assert RepeatChannels(2)(depth.unsqueeze(0)).shape == (1, 2, 2, 2)
    with pytest.raises(ValueError, match=r"takes a tensor of shape \(..., 1, H, W\), got \(3, 2, 2\)"):
        RepeatChannels()(torch.zeros(3, 2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: image_eval_transform(8, crop_ratio=2), r"crop_ratio must be in \(0, 1\], got 2", id="crop"),
        pytest.param(lambda: image_eval_transform(8, interpolation="area"), "Unknown interpolation 'area'", id="interpolation"),
        pytest.param(lambda: image_augmentation("mixup"), "Unknown policy 'mixup'. Choose one of: trivial_aug", id="policy"),
        pytest.param(lambda: RepeatChannels(0), "num_repeats must be at least 1", id="repeats"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
