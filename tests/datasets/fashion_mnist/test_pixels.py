import json

import numpy as np
import pytest

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator
from mmkit.datasets.fashion_mnist.pixels import FashionMNISTPixels
from mmkit.datasets.fashion_mnist.recipe import FashionMNISTRecipe
from mmkit.errors import RefusedError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A cache with a data set of the right shapes, in which pixel and class tell the number of the picture."""
    folder = tmp_path_factory.mktemp("data") / "fashion_mnist"
    folder.mkdir()
    for name, count in (("train", 60_000), ("test", 10_000)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, :2] = np.stack([np.arange(count) // 256, np.arange(count) % 256], 1)
        images[:, 27, 27] = 255
        np.save(folder / f"{name}_images.npy", images)
        np.save(folder / f"{name}_labels.npy", (np.arange(count) % 10).astype(np.uint8))
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps({"version": FashionMNISTRecipe.version, "files": files}))
    return folder.parent


@pytest.fixture(autouse=True)
def data(root, monkeypatch):
    monkeypatch.setenv("MMKIT_DATA", str(root))


@pytest.mark.parametrize(
    ("split", "length", "first"),
    [("train", 55_000, 0), ("val", 5_000, 55_000), ("test", 10_000, 0)],
    ids=["train", "val", "test"],
)
def test_splits_have_their_pictures(split, length, first):
    dataset = FashionMNISTPixels(split)
    for index in (0, length - 1):
        number = (dataset[index].text[0] - 3) * 256 + dataset[index].text[1] - 3
        assert number == first + index
        assert dataset[index].text_target == (first + index) % 10
    assert len(dataset) == length


def test_pixels_follow_row_by_row():
    pixels = FashionMNISTPixels("test")[7].text
    assert pixels.shape == (784,)
    assert pixels[:2].tolist() == [3, 10]
    assert pixels[-2:].tolist() == [3, 258]


def test_fewer_levels_are_of_equal_width():
    pixels = [FashionMNISTPixels("test", levels=4)[index].text[1].item() for index in (0, 63, 64, 127, 128, 191, 192, 255)]
    assert pixels == [3, 3, 4, 4, 5, 5, 6, 6]


def test_examples_make_a_batch_like_their_specification():
    combined = CombinedDataset([FashionMNISTPixels("val")])
    batch = DefaultDataCollator()([combined[0], combined[1]])
    spec = FashionMNISTPixels.example_spec(split="val", levels=16)
    assert batch["text"].shape == (2, *spec.text.shape)
    assert batch["text"].dtype == spec.text.dtype
    assert batch["text_target"].tolist() == [0, 1]
    assert isinstance(spec.text_target, int)


@pytest.mark.parametrize("levels", [4, 256])
def test_the_specification_holds_the_largest_id(levels):
    brightest = FashionMNISTPixels("test", levels=levels)[0].text.max().item()
    assert set(FashionMNISTPixels.example_spec(levels=levels).text.tolist()) == {brightest}


def test_classes_have_names():
    assert len(FashionMNISTPixels.id2label) == 10
    assert FashionMNISTPixels.id2label[9] == "ankle boot"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split": "dev"}, "unknown split 'dev'. Allowed: train, val, test."),
        ({"levels": 1}, "levels=1. Allowed: 2 to 256."),
        ({"levels": 257}, "levels=257. Allowed: 2 to 256."),
    ],
    ids=["split", "few", "many"],
)
def test_mistakes_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        FashionMNISTPixels(**arguments)


def test_missing_data_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    with pytest.raises(RefusedError, match=r"'fashion_mnist' is not prepared. Type: mmkit data prepare fashion_mnist$"):
        FashionMNISTPixels()
