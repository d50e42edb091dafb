import pickle

import pytest

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator
from mmkit.datasets.stdlib_bytes.dataset import StdlibBytes


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def dataset(cache_dir):
    return StdlibBytes("val", context=64, stride=24, cache_dir=cache_dir)


def test_labels_are_the_bytes_themselves_where_no_window_before_has_them(dataset):
    first, second = dataset[0], dataset[1]
    assert list(first) == ["example_index", "text", "text_target"]
    assert first.text_target.tolist() == [-100, *first.text[1:].tolist()]
    assert second.text_target.tolist() == [-100] * 40 + second.text[40:].tolist()
    assert second.text[:40].equal(first.text[24:])
    assert second.example_index == 1


def test_all_labels_together_are_the_split(dataset):
    labels = [label for i in range(len(dataset)) for label in dataset[i].text_target.tolist() if label != -100]
    assert bytes(labels) == dataset.corpus.split("val").tobytes()[1:]


def test_windows_follow_each_other_without_a_stride(cache_dir):
    dataset = StdlibBytes("test", context=64, cache_dir=cache_dir)
    assert dataset[1].text[0] == dataset[0].text[-1]
    assert (dataset[1].text_target != -100).sum() == 63


def test_splits_have_other_bytes(cache_dir):
    lengths = {split: len(StdlibBytes(split, context=64, cache_dir=cache_dir)) for split in ("train", "val", "test")}
    assert lengths["train"] > 4 * max(lengths["val"], lengths["test"])
    assert min(lengths.values()) > 1000


def test_bytes_below_ten_are_separators(dataset):
    values = {value for i in range(len(dataset)) for value in dataset[i].text.tolist()}
    assert {value for value in values if value < 10} == {0}


def test_a_worker_opens_the_bytes_itself(dataset):
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1e6
    assert pickle.loads(pickled)[5].text.equal(dataset[5].text)


def test_examples_make_a_batch_like_their_specification(dataset):
    combined = CombinedDataset([dataset])
    batch = DefaultDataCollator()([combined[0], combined[1]])
    spec = StdlibBytes.example_spec(context=64, split="val")
    assert batch["text"].shape == batch["text_target"].shape == (2, 64)
    assert {key: (value.shape, value.dtype) for key, value in spec.items() if key != "example_index"} == {
        key: (batch[key].shape[1:], batch[key].dtype) for key in ("text", "text_target")
    }


def test_the_specification_holds_the_largest_byte():
    assert set(StdlibBytes.example_spec(context=64).text.tolist()) == {255}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split": "dev"}, "unknown split 'dev'. Allowed: train, val, test."),
        ({"context": 64, "stride": 64}, "stride=64 must be 1 to 63"),
        ({"modality": "code"}, "Unknown modality 'code'"),
    ],
    ids=["split", "stride", "modality"],
)
def test_mistakes_are_named(cache_dir, arguments, says):
    with pytest.raises(ValueError, match=says):
        StdlibBytes(cache_dir=cache_dir, **arguments)


def test_there_is_no_window_past_the_end(dataset):
    with pytest.raises(IndexError, match="out of range"):
        dataset[len(dataset)]
