import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from mmkit.cli.peeking.examples import describe, look_at
from mmkit.cli.peeking.pictures import as_picture
from mmkit.datasets.core import Example


class Pairs(Dataset):
    """Pictures of one colour each, and their number as a text."""

    def __init__(self, size=10):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        picture = torch.full((3, 8, 16), index, dtype=torch.uint8)
        return Example({"example_index": index, "rgb": picture, "text": f"number {index}", "box": {"x": index / 2}})


class Stream(IterableDataset):
    def __iter__(self):
        yield from ({"example_index": index, "text": "a\x1b[31m"} for index in range(100))


def described(*values, rates=None, missing=0):
    column = describe("key", list(values), rates or [None] * len(values), missing)
    return column.kind, column.shape, column.values


def test_examples_are_evenly_spread_and_described_by_key():
    view = look_at("datasets.train", Pairs(), 4)
    assert (view.name, view.num_examples) == ("datasets.train", 10)
    assert [number for number, *_ in view.texts] == [0, 3, 6, 9]
    assert view.texts[1] == (3, 3, "number 3")
    assert [(column.key, column.kind, column.shape, column.values) for column in view.columns] == [
        ("example_index", "int", "", "0 to 9"),
        ("rgb", "uint8 picture", "3×8×16", "0 to 9, mean 4.5"),
        ("text", "text", "", "8 characters"),
        ("box.x", "float", "", "0 to 4.5, mean 2.25"),
    ]
    assert [number for number, _ in view.pictures["rgb"]] == [0, 3, 6, 9]


def test_more_examples_than_there_are_and_none_at_all():
    assert len(look_at("a", Pairs(3), 8).texts) == 3
    assert look_at("a", Pairs(0), 8).columns == []


def test_of_a_stream_the_first_are_taken_and_control_characters_are_shown_as_such():
    view = look_at("a", Stream(), 2)
    assert view.num_examples is None
    assert view.texts == [(0, 0, r"a\x1b[31m"), (1, 1, r"a\x1b[31m")]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param([torch.zeros(2, 5), torch.ones(2, 7)], ("float32", "2×?", "0 to 1, mean 0.5833"), id="lengths-vary"),
        pytest.param([torch.zeros(2), torch.zeros(2, 2)], ("float32", "2 or 2×2", "always 0"), id="dimensions-vary"),
        pytest.param([np.array([1.0, np.nan])], ("float64", "2", "always 1, 1 not finite"), id="not-finite"),
        pytest.param([torch.tensor([])], ("float32", "0", "empty"), id="empty"),
        pytest.param([torch.ones(2, dtype=torch.bfloat16)], ("bfloat16", "2", "always 1"), id="bfloat16"),
        pytest.param([True, False], ("bool", "", "0 to 1"), id="flags"),
        pytest.param(["ab", "abcd"], ("text", "", "2 to 4 characters"), id="texts"),
        pytest.param([["a"], ["b"]], ("list", "", "['a']"), id="others"),
        pytest.param([None], ("NoneType", "", "None"), id="none"),
    ],
)
def test_values_are_described(values, told):
    assert described(*values) == told


def test_missing_keys_are_counted():
    assert described("ab", missing=3) == ("text", "", "2 characters; 3 lack it")


def test_a_sound_has_length_rate_peak_and_rms():
    time = torch.arange(8000) / 8000
    sound = 0.5 * torch.sin(2 * torch.pi * 440 * time)
    kind, shape, values = described(sound, sound[:4000].clone(), rates=[8000, 8000])
    assert (kind, shape) == ("float32 sound", "?")
    assert values == "0.5 to 1 s at 8000 Hz, peak 0.5, RMS 0.3536"  # amplitude / √2
    assert "peak 2 (clipped)" in described(4 * sound[None], rates=[8000])[2]


@pytest.mark.parametrize("source", ["key", "own-key", "dataset"])
def test_the_sample_rate_is_found(source):
    class Sounds(Dataset):
        sample_rate = 100 if source == "dataset" else None

        def __len__(self):
            return 2

        def __getitem__(self, index):
            rates = {"key": {"sample_rate": 100}, "own-key": {"audio_sample_rate": 100}, "dataset": {}}
            return {"audio": torch.ones(50), **rates[source]}

    column = look_at("a", Sounds(), 2).columns[0]
    assert (column.kind, column.values) == ("float32 sound", "0.5 s at 100 Hz, peak 1, RMS 1")


@pytest.mark.parametrize(
    ("value", "corner"),
    [
        pytest.param(torch.full((3, 8, 9), 7, dtype=torch.uint8), (7, 7, 7), id="bytes"),
        pytest.param(torch.full((1, 8, 9), 7, dtype=torch.uint8), (7, 7, 7), id="grey"),
        pytest.param(torch.full((3, 8, 9), 0.2), (51, 51, 51), id="shares"),
        pytest.param(torch.linspace(-2, 2, 216).reshape(3, 8, 9), (0, 85, 170), id="normalised"),
        pytest.param(torch.full((2, 3, 8, 9), 7, dtype=torch.uint8), (7, 7, 7), id="frames"),
        pytest.param(np.full((8, 9, 3), 7, dtype=np.uint8), (7, 7, 7), id="array"),
        pytest.param(Image.new("L", (9, 8), 7), (7, 7, 7), id="pillow"),
    ],
)
def test_pictures_are_known(value, corner):
    picture = as_picture(value)
    assert picture is not None
    assert picture.size == (9, 8)
    assert np.allclose(picture.getpixel((0, 0)), corner, atol=1)


@pytest.mark.parametrize("value", [torch.zeros(3, 4, 4), torch.zeros(5, 8, 8), torch.zeros(8, 8), "text", None, 1.0], ids=str)
def test_other_values_are_no_pictures(value):
    assert as_picture(value) is None
