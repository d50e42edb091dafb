import multiprocessing
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator, Example
from mmkit.datasets.core import combined_dataset as module


class Positions(Dataset):
    """Map-style; `example_index` is 10 times the position."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, position: int) -> Example:
        return Example(example_index=10 * position, rgb=torch.tensor([position]))


class Stream(IterableDataset):
    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self):
        for number in range(self.size):
            yield Example(example_index=10 * number, rgb=torch.tensor([number]))


class SizedStream(Stream):
    def __len__(self) -> int:
        return self.size


class SelfDividingStream(Stream):
    """Looks at the worker itself, as PyTorch's documentation shows, so it must say how it is divided."""

    def __iter__(self):
        worker = get_worker_info()
        yield from self.shard(worker.num_workers if worker else 1, worker.id if worker else 0)

    def shard(self, num_shards: int, index: int):
        return (Example(example_index=10 * n, rgb=torch.tensor([n])) for n in range(index, self.size, num_shards))


class Raw(Dataset):
    def __init__(self, *values) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, position: int):
        return self.values[position]


class WithLengths(Positions):
    def lengths(self, key: str) -> list[int]:
        return [len(key) + i for i in range(self.size)]


def ids_of(examples) -> list[tuple[int, int]]:
    return [example.example_ids for example in examples]


def ids_of_loader(loader) -> list[tuple[int, int]]:
    return [tuple(row) for batch in loader for row in batch["example_ids"]["rgb"].tolist()]


def loader_of(dataset, **settings) -> DataLoader:
    return DataLoader(dataset, batch_size=4, collate_fn=DefaultDataCollator(), **settings)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_positions_run_through_the_data_sets_in_turn(sizes: list[int]):
    combined = CombinedDataset([Positions(size) for size in sizes])
    expected = [(d, 10 * i) for d, size in enumerate(sizes) for i in range(size)]
    assert len(combined) == len(expected)
    assert ids_of(combined[i] for i in range(len(combined))) == expected
    assert ids_of(combined[i - len(expected)] for i in range(len(combined))) == expected
    assert combined.cumulative_sizes == np.cumsum(sizes).tolist()


def test_an_example_knows_where_it_comes_from():
    example = CombinedDataset([Positions(2), Positions(3)])[4]
    assert (example.dataset_index, example.example_index, example.example_ids) == (1, 20, (1, 20))
    assert example.rgb.tolist() == [2]


@pytest.mark.parametrize("index", [torch.tensor(1), np.int64(1), -1], ids=["tensor", "numpy", "negative"])
def test_any_integer_is_a_position(index):
    assert CombinedDataset([Positions(2)])[index].example_ids == (0, 10)


@pytest.mark.parametrize("index", [2, -3])
def test_a_position_out_of_range_is_refused(index: int):
    with pytest.raises(IndexError, match=f"Index {index} is out of range for 2 examples"):
        CombinedDataset([Positions(2)])[index]


def test_the_examples_that_a_data_set_keeps_are_not_touched():
    kept = Raw(Example(example_index=0))
    combined = CombinedDataset([kept, kept])
    assert ids_of([combined[0], combined[1]]) == [(0, 0), (1, 0)]
    assert list(kept[0]) == ["example_index"]


@pytest.mark.parametrize("index", [torch.tensor(7), np.int32(7), 7], ids=["tensor", "numpy", "int"])
def test_an_example_index_of_any_integer_type_becomes_an_int(index):
    example = CombinedDataset([Raw(Example(example_index=index))])[0]
    assert example.example_ids == (0, 7)
    assert type(example.example_index) is int


def test_equal_example_indices_are_allowed():
    combined = CombinedDataset([Raw(Example(example_index=7), Example(example_index=7))])
    assert ids_of(combined) == [(0, 7), (0, 7)]


@pytest.mark.parametrize("dataset_style", ["map", "stream"])
@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (Example(text="a"), ValueError, r"an integer `example_index`, got none at position 0\. The example has: text"),
        (Example(example_index=None), ValueError, "an integer `example_index`, got None at position 0"),
        (Example(example_index=0.5), ValueError, "an integer `example_index`, got 0.5 at position 0"),
        (Example(example_index=torch.tensor([1, 2])), ValueError, r"got tensor\(\[1, 2\]\) at position 0"),
        ({"example_index": 0}, TypeError, "return an Example, got dict at position 0"),
        (None, TypeError, "return an Example, got NoneType at position 0"),
    ],
    ids=["missing", "None", "float", "vector", "dict", "no example"],
)
def test_what_is_no_example_with_an_index_is_named(dataset_style, value, error, text):
    class OneOfThem(IterableDataset):
        def __iter__(self):
            yield value

    combined = CombinedDataset([Positions(1), Raw(value) if dataset_style == "map" else OneOfThem()])
    with pytest.raises(error, match=rf"Data set 1 \((Raw|OneOfThem)\) must .*{text}"):
        list(combined)


def test_a_mapping_names_its_data_sets_in_errors():
    combined = CombinedDataset({"emoji": Positions(1), "photos": Raw(None)})
    with pytest.raises(TypeError, match=r"Data set 1 'photos' \(Raw\) must return an Example"):
        combined[1]


@pytest.mark.parametrize(
    ("datasets", "error", "text"),
    [
        ([], ValueError, "needs at least one data set, got none"),
        ([Positions(3), Positions(0)], ValueError, r"Data set 1 \(Positions\) is empty"),
        ([SizedStream(0)], ValueError, r"Data set 0 \(SizedStream\) is empty"),
        (
            [CombinedDataset([Positions(1)])],
            ValueError,
            r"Data set 0 \(CombinedDataset\) is combined already; pass its `datasets`",
        ),
        ([Positions(1), 3], TypeError, r"Data set 1 \(int\) is no data set"),
        (["path"], TypeError, r"Data set 0 \(str\) is no data set"),
        (Positions(1), TypeError, "takes a list or a mapping of data sets, got Positions"),
        ("path", TypeError, "takes a list or a mapping of data sets, got str"),
    ],
    ids=["none", "empty", "empty stream", "combined", "number", "text", "bare", "bare text"],
)
def test_what_cannot_be_combined_is_named(datasets, error, text):
    with pytest.raises(error, match=text):
        CombinedDataset(datasets)


def test_a_map_style_data_set_needs_a_length():
    class Endless(Dataset):
        def __getitem__(self, position: int) -> Example:
            return Example(example_index=position)

    with pytest.raises(TypeError, match=r"Data set 0 \(Endless\) is map-style and needs a `__len__`"):
        CombinedDataset([Endless()])


def test_lengths_come_from_the_data_sets():
    combined = CombinedDataset([WithLengths(2), WithLengths(3)])
    assert combined.lengths("text").tolist() == [4, 5, 4, 5, 6]
    with pytest.raises(TypeError, match=r"Data set 1 \(Positions\) needs a method `lengths\(key\)`"):
        CombinedDataset([WithLengths(2), Positions(1)]).lengths("text")


@pytest.mark.parametrize("parts", [[Positions(2)], [Positions(2), Stream(3)]], ids=["map", "mixed"])
def test_a_combination_survives_pickling(parts):
    combined = pickle.loads(pickle.dumps(CombinedDataset(parts)))
    assert isinstance(combined, CombinedDataset)
    assert isinstance(combined, IterableDataset) == (len(parts) == 2)
    assert ids_of(combined) == ids_of(CombinedDataset(parts))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_shuffles_a_map_style_combination(num_workers: int):
    combined = CombinedDataset([Positions(7), Positions(6)])
    loader = loader_of(combined, num_workers=num_workers, shuffle=True, generator=torch.Generator().manual_seed(0))
    first, second = ids_of_loader(loader), ids_of_loader(loader)
    assert sorted(first) == sorted(second) == ids_of(combined)
    assert first != second


MIXED = [Positions(5), Stream(11), SizedStream(3), SelfDividingStream(9)]
MIXED_IDS = sorted((d, 10 * i) for d, dataset in enumerate(MIXED) for i in range(dataset.size))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_workers": 0},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": True},
    ],
    ids=["no worker", "two workers", "persistent workers"],
)
def test_a_stream_passes_each_example_once_per_epoch(settings):
    loader = loader_of(CombinedDataset(MIXED), **settings)
    for _ in range(3):
        assert sorted(ids_of_loader(loader)) == MIXED_IDS


def test_more_workers_than_examples_still_pass_each_once():
    loader = loader_of(CombinedDataset([Stream(1)]), num_workers=2)
    assert ids_of_loader(loader) == [(0, 0)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 3))
def test_ranks_and_workers_divide_a_stream_without_remainder(sizes: list[int], num_replicas: int, num_workers: int):
    with pytest.MonkeyPatch.context() as patch:
        seen, lengths = [], []
        for rank in range(num_replicas):
            patch.setattr(module, "replica", lambda rank=rank: (rank, num_replicas))
            combined = CombinedDataset([SizedStream(size) if i % 2 == 0 else Positions(size) for i, size in enumerate(sizes)])
            lengths.append(len(combined))
            own = []
            for worker in range(num_workers):
                patch.setattr(module, "get_worker_info", lambda worker=worker: _Worker(worker, num_workers))
                own += ids_of(combined)
            assert len(own) == lengths[-1]
            seen += own
    assert sorted(seen) == [(d, 10 * i) for d, size in enumerate(sizes) for i in range(size)]
    assert max(lengths) - min(lengths) <= len(sizes)


class _Worker:
    def __init__(self, worker_id: int, num_workers: int) -> None:
        self.id, self.num_workers = worker_id, num_workers


def test_workers_of_two_real_ranks_divide_a_stream(tmp_path):
    combined = CombinedDataset([Stream(9), Positions(4)])  # made before there is a process group, as in a real run
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    ranks = [context.Process(target=_read_share, args=(rank, combined, str(tmp_path / "store"), queue)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    shares = dict(queue.get() for _ in ranks)
    for process in ranks:
        process.join()
    assert sorted(shares[0]) == [(0, 0), (0, 20), (0, 40), (0, 60), (0, 80), (1, 10), (1, 30)]
    assert sorted(shares[1]) == [(0, 10), (0, 30), (0, 50), (0, 70), (1, 0), (1, 20)]


def _read_share(rank: int, combined: CombinedDataset, path: str, queue) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    queue.put((rank, ids_of_loader(loader_of(combined, num_workers=2))))
    distributed.destroy_process_group()


def test_a_spawned_worker_knows_the_rank_that_sent_it_the_data(monkeypatch):
    combined = CombinedDataset([Stream(4)])
    monkeypatch.setattr(module, "replica", lambda: (1, 2))
    sent = pickle.dumps(combined)
    monkeypatch.undo()  # there is no process group in a spawned worker
    assert ids_of(pickle.loads(sent)) == [(0, 10), (0, 30)]


def test_data_sets_of_known_length_alternate_in_proportion():
    order = [d for d, _ in ids_of(CombinedDataset([SizedStream(8), Positions(4), Positions(2)]))]
    for start in (0, 7):
        assert Counter(order[start : start + 7]) == {0: 4, 1: 2, 2: 1}


def test_data_sets_of_unknown_length_take_turns():
    order = [d for d, _ in ids_of(CombinedDataset([Stream(5), Positions(2)]))]
    assert order == [0, 1, 0, 1, 0, 0, 0]


def test_the_length_of_a_stream_is_the_sum_where_it_is_known():
    combined = CombinedDataset([SizedStream(3), Positions(2)])
    assert len(combined) == 5
    assert len(loader_of(combined)) == 2
    with pytest.raises(TypeError, match=r"The length is unknown: Data set 1 \(Stream\) has none"):
        len(CombinedDataset([Positions(2), Stream(3)]))


def test_a_stream_has_no_positions_and_no_shuffling():
    combined = CombinedDataset([Positions(2), Stream(3)])
    with pytest.raises(TypeError, match="has iterable data sets: it has no positions; iterate over it"):
        combined[0]
    with pytest.raises(ValueError, match="shuffle"):
        loader_of(combined, shuffle=True)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_stream_that_yields_nothing_is_an_error(num_workers: int):
    loader = loader_of(CombinedDataset([Positions(2), Stream(0)]), num_workers=num_workers)
    with pytest.raises(ValueError, match=r"Data set 1 \(Stream\) yielded nothing\. Is it empty"):
        list(loader)


def test_a_stream_that_does_not_start_anew_is_an_error_in_the_second_epoch():
    class Once(IterableDataset):
        def __init__(self) -> None:
            self.examples = iter([Example(example_index=0)])

        def __iter__(self):
            return self.examples

    combined = CombinedDataset([Once()])
    assert len(list(combined)) == 1
    with pytest.raises(ValueError, match="or does its `__iter__` not start anew"):
        list(combined)
