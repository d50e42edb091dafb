import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import IterableDataset

from mmkit.cli.peeking.identity import Overlap, digest, identities, overlaps


def examples(*pairs):
    return [{"example_index": identity, "text": text} for identity, text in pairs]


def test_repeated_ids_and_contents_are_counted():
    found = identities("train.a", examples((0, "x"), (0, "y"), (1, "x"), (2, "z")), 100)
    assert found.as_dict() == {
        "name": "train.a",
        "num_checked": 4,
        "num_examples": 4,
        "num_ids": 3,
        "num_repeated_ids": 1,
        "num_repeated": 1,
    }


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xyz"))), st.integers(0, 8))
def test_counts_are_those_of_sets(pairs, limit):
    found = identities("a", examples(*pairs), limit)
    seen = pairs[:limit]
    assert found.num_ids == len({identity for identity, _ in seen})
    assert found.num_repeated_ids == len(seen) - found.num_ids
    assert found.num_repeated == len(seen) - len({text for _, text in seen})


def test_overlaps_are_those_of_different_splits():
    train, other = identities("train.a", examples((0, "x"), (1, "y")), 9), identities("train.b", examples((0, "x")), 9)
    val = identities("val.a", examples((1, "x"), (2, "y"), (3, "z")), 9)
    assert overlaps([train, other, val]) == [Overlap("train.a", "val.a", 1, 2), Overlap("train.b", "val.a", 0, 1)]


def test_a_stream_is_read_no_further_than_it_is_checked():
    class Stream(IterableDataset):
        def __iter__(self):
            for index in range(3):
                yield {"example_index": torch.tensor(index), "text": "x"}
            raise AssertionError("read too far")

    found = identities("train", Stream(), 3)
    assert (found.ids, found.num_repeated, found.told_size) == ({0, 1, 2}, 2, "first 3")


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ({"rgb": torch.zeros(2)}, {"rgb": torch.zeros(2), "example_index": 7}, True),
        ({"rgb": torch.zeros(2)}, {"rgb": torch.zeros(1, 2)}, False),
        ({"rgb": torch.zeros(2)}, {"rgb": torch.zeros(2, dtype=torch.int32)}, False),
        ({"rgb": torch.zeros(2)}, {"depth": torch.zeros(2)}, False),
        ({"rgb": torch.zeros(2, 2).t()}, {"rgb": torch.zeros(2, 2)}, True),
        ({"text": "a\ud800"}, {"text": "a"}, False),
        ({"box": [1, 2]}, {"box": [1, 2]}, True),
    ],
)
def test_contents_are_what_is_held_besides_ids(first, second, equal):
    assert (digest(first) == digest(second)) == equal
