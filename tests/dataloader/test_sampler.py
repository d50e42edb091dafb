from collections import Counter

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra_zen import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, IterableDataset

from mmkit.conf import external_store
from mmkit.dataloader import sampler as module
from mmkit.dataloader.sampler import BucketBatchSampler, CombinedDatasetRatioSampler, DistributedEvalSampler


def parts(*sizes: int) -> ConcatDataset:
    """Data sets of given sizes, one after the other; a combined data set as far as samplers see it."""
    return ConcatDataset([range(size) for size in sizes])  # pyright: ignore[reportArgumentType]


def part_of(index: int, sizes: list[int]) -> int:
    return next(i for i in range(len(sizes)) if index < sum(sizes[: i + 1]))


def on_all_ranks(make, num_replicas: int) -> list[list]:
    return [list(make(rank=rank, num_replicas=num_replicas)) for rank in range(num_replicas)]


sizes_and_ratios = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5)), min_size=1, max_size=4)


@given(sizes_and_ratios, st.integers(20, 60), st.booleans(), st.integers(0, 3))
def test_data_sets_are_drawn_in_proportion(sizes_ratios, num_samples: int, shuffle: bool, epoch: int):
    sizes, ratios = map(list, zip(*sizes_ratios, strict=True))
    sampler = CombinedDatasetRatioSampler(parts(*sizes), ratios, num_samples, shuffle=shuffle)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == num_samples
    per_part = Counter(part_of(index, sizes) for index in drawn)
    for i, ratio in enumerate(ratios):
        assert abs(per_part[i] - num_samples * ratio / sum(ratios)) < 1
        frequencies = Counter(index for index in drawn if part_of(index, sizes) == i)
        # Without replacement, examples of one data set differ in frequency by one at most.
        full, rest = divmod(per_part[i], sizes[i])
        assert sorted(frequencies.values()) == [full] * (sizes[i] - rest) * (full > 0) + [full + 1] * rest


def test_by_default_every_example_is_drawn_once_in_an_order_that_mixes():
    sampler = CombinedDatasetRatioSampler(parts(40, 60))
    drawn = list(sampler)
    assert sorted(drawn) == list(range(100))
    assert drawn != sorted(drawn)
    assert 5 < sum(index < 40 for index in drawn[:30]) < 20


def test_a_ratio_of_zero_leaves_a_data_set_out():
    assert set(CombinedDatasetRatioSampler(parts(3, 3, 3), [1, 0, 1], num_samples=6)) == {0, 1, 2, 6, 7, 8}


def test_without_shuffling_the_data_sets_follow_each_other_in_their_order():
    assert list(CombinedDatasetRatioSampler(parts(4, 2), [1, 1], num_samples=6, shuffle=False)) == [0, 1, 2, 4, 5, 4]


@pytest.mark.parametrize("shuffle", [False, True])
def test_with_replacement_examples_are_independent(shuffle: bool):
    sampler = CombinedDatasetRatioSampler(parts(10, 10), [4, 1], num_samples=50_000, replacement=True, shuffle=shuffle)
    counts = torch.bincount(torch.tensor(list(sampler)), minlength=20).double()
    assert counts[:10].sum() == 40_000
    chi_square = ((counts[:10] - 4000) ** 2 / 4000).sum()
    assert 0.5 < chi_square < 45  # 9 degrees of freedom; without replacement it would be 0


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int, **settings) -> list[int]:
        sampler = CombinedDatasetRatioSampler(parts(30, 20), seed=seed, **settings)
        sampler.set_epoch(epoch)
        torch.manual_seed(len(settings))
        return list(sampler)

    assert order(0, 0) == order(0, 0, shuffle=True)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_an_epoch_can_be_read_from_the_middle():
    sampler = CombinedDatasetRatioSampler(parts(30, 20), [2, 1], rank=1, num_replicas=2)
    assert sampler.indices(10, 20).tolist() == list(sampler)[10:20]


def test_long_epochs_are_made_in_chunks_that_fit_together(monkeypatch):
    make = lambda: CombinedDatasetRatioSampler(parts(30, 21), [1, 1], num_samples=70)  # noqa: E731
    whole = list(make())
    monkeypatch.setattr(module, "_CHUNK", 8)
    assert list(make()) == whole


@given(st.integers(1, 5), st.integers(8, 40), st.booleans())
def test_ranks_share_one_order(num_replicas: int, num_samples: int, drop_last: bool):
    def make(**rank) -> CombinedDatasetRatioSampler:
        return CombinedDatasetRatioSampler(parts(9, 8), [1, 2], num_samples, drop_last=drop_last, **rank)

    one = list(make())
    shares = on_all_ranks(make, num_replicas)
    length = num_samples // num_replicas if drop_last else -(-num_samples // num_replicas)
    assert {len(share) for share in shares} == {length} == {len(make(rank=0, num_replicas=num_replicas))}
    interleaved = [index for step in zip(*shares, strict=True) for index in step]
    assert interleaved == (one + one)[: length * num_replicas]


def test_the_first_index_of_a_huge_data_set_comes_without_the_others(monkeypatch):
    class Huge:
        cumulative_sizes = (10_000_000_000, 17_800_000_000)

        def __len__(self) -> int:
            return self.cumulative_sizes[-1]

    sampler = CombinedDatasetRatioSampler(Huge(), [1, 3])  # would not fit into memory
    assert 0 <= next(iter(sampler)) < len(Huge())
    assert len(sampler) == 17_800_000_000


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"ratios": [1]}, r"one entry per data set \(2\), got 1: \[1\]"),
        ({"ratios": [1, -1]}, r"finite, not negative, and not all 0, got \[1, -1\]"),
        ({"ratios": [0, 0]}, "not all 0"),
        ({"ratios": [1, float("nan")]}, "finite"),
        ({"ratios": [1, 100], "num_samples": 10}, "`num_samples`=10 is too small: data set 0 with ratio 1 gets no draw"),
        ({"num_samples": 0}, "`num_samples`=0 is too small"),
        ({"rank": 1}, "both `rank` and `num_replicas` or neither, got 1 and None"),
        ({"rank": 2, "num_replicas": 2}, "less than `num_replicas`, got 2 of 2"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, text):
    with pytest.raises(ValueError, match=text):
        CombinedDatasetRatioSampler(parts(3, 4), **settings)


class Stream(IterableDataset):
    def __iter__(self):
        yield from range(3)

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("cls", [CombinedDatasetRatioSampler, DistributedEvalSampler, BucketBatchSampler])
def test_a_stream_cannot_be_sampled(cls):
    with pytest.raises(TypeError, match=r"needs a map-style data set, got Stream, which has no positions"):
        cls(Stream(), **({"batch_size": 1} if cls is BucketBatchSampler else {}))


def test_ratios_need_a_combined_data_set():
    with pytest.raises(TypeError, match="needs a CombinedDataset, got range"):
        CombinedDatasetRatioSampler(range(3))


@given(st.integers(1, 30), st.integers(1, 6), st.booleans())
def test_evaluation_visits_each_example_once_over_all_ranks(size: int, num_replicas: int, shuffle: bool):
    shares = on_all_ranks(lambda **rank: DistributedEvalSampler(range(size), shuffle=shuffle, **rank), num_replicas)
    assert sorted(index for share in shares for index in share) == list(range(size))
    lengths = [len(DistributedEvalSampler(range(size), num_replicas, rank)) for rank in range(num_replicas)]
    assert [len(share) for share in shares] == lengths
    assert max(lengths) - min(lengths) <= 1


def test_evaluation_keeps_the_order_unless_asked():
    assert list(DistributedEvalSampler(range(6))) == list(range(6))
    sampler = DistributedEvalSampler(range(50), shuffle=True)
    first = list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler) != list(range(50))


def test_the_rank_is_looked_up_when_it_is_needed(monkeypatch):
    sampler = DistributedEvalSampler(range(5))
    assert (sampler.rank, sampler.num_replicas, len(sampler)) == (0, 1, 5)
    monkeypatch.setattr(module, "replica", lambda: (1, 2))  # the process group has been set up meanwhile
    assert list(sampler) == [1, 3]


@pytest.mark.parametrize("cls", [CombinedDatasetRatioSampler, DistributedEvalSampler])
def test_lightning_recognises_a_sampler_that_divides_over_ranks(cls):
    assert isinstance(cls(parts(3)), DistributedSampler)


lengths_lists = st.lists(st.integers(0, 50), min_size=1, max_size=60)


@given(lengths_lists, st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_buckets_hold_every_example_once_up_to_padding_over_ranks(lengths, batch_size, pool_batches, num_replicas, shuffle):
    def make(**rank) -> BucketBatchSampler:
        data = range(len(lengths))
        return BucketBatchSampler(data, batch_size, lengths=lengths, pool_batches=pool_batches, shuffle=shuffle, **rank)

    shares = on_all_ranks(make, num_replicas)
    assert {len(share) for share in shares} == {len(make(rank=0, num_replicas=num_replicas))}
    distinct = {tuple(batch) for share in shares for batch in share}
    assert sorted(index for batch in distinct for index in batch) == list(range(len(lengths)))
    assert sum(len(batch) != batch_size for batch in distinct) <= 1


@given(lengths_lists, st.integers(1, 7), st.integers(1, 3))
def test_drop_last_leaves_full_and_distinct_batches(lengths, batch_size, num_replicas):
    def make(**rank) -> BucketBatchSampler:
        return BucketBatchSampler(range(len(lengths)), batch_size, lengths=lengths, drop_last=True, **rank)

    batches = [batch for share in on_all_ranks(make, num_replicas) for batch in share]
    assert all(len(batch) == batch_size for batch in batches)
    drawn = [index for batch in batches for index in batch]
    assert len(drawn) == len(set(drawn)) == len(lengths) // batch_size // num_replicas * num_replicas * batch_size


def test_buckets_pad_less_than_random_batches_and_more_pools_pad_more():
    lengths = torch.randint(1, 100, (4000,), generator=torch.Generator().manual_seed(0))

    def padding(pool_batches: int) -> int:
        batches = BucketBatchSampler(range(4000), 20, lengths=lengths.tolist(), pool_batches=pool_batches)
        return sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches)

    assert padding(200) < 0.05 * padding(1)
    assert padding(10) < 0.3 * padding(1)


def test_ranks_get_batches_of_similar_length_at_the_same_time():
    lengths = list(range(400))
    shares = on_all_ranks(lambda **rank: BucketBatchSampler(range(400), 5, lengths=lengths, pool_batches=80, **rank), 4)
    for step in zip(*shares, strict=True):
        values = [lengths[index] for batch in step for index in batch]
        assert max(values) - min(values) < 20


def test_buckets_depend_on_seed_and_epoch_alone():
    def batches(seed: int, epoch: int) -> tuple:
        sampler = BucketBatchSampler(range(50), 5, lengths=list(range(50)), pool_batches=2, seed=seed)
        sampler.set_epoch(epoch)
        return tuple(map(tuple, sampler))

    assert batches(1, 2) == batches(1, 2)
    assert len({batches(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


class Captions(list):
    def lengths(self, key: str) -> list[int]:
        return [len(caption[key]) for caption in self]


def test_lengths_come_from_the_data_set_or_a_function_of_it():
    captions = Captions({"text": "x" * n} for n in (9, 1, 8, 2))
    for lengths in (None, lambda data: [len(caption["text"]) for caption in data], [9, 1, 8, 2]):
        assert list(BucketBatchSampler(captions, 2, lengths=lengths, shuffle=False)) == [[1, 3], [2, 0]]


def test_missing_and_wrong_lengths_are_named():
    with pytest.raises(TypeError, match=r"range has no method `lengths\(key\)`; add one, or give BucketBatchSampler `lengths`"):
        BucketBatchSampler(range(3), 2)
    with pytest.raises(ValueError, match=r"one length per example \(3\), got shape \(2,\)"):
        BucketBatchSampler(range(3), 2, lengths=[1, 2])


def test_lightning_sets_the_epoch_of_buckets_where_it_looks_for_a_sampler():
    loader = DataLoader(range(8), batch_sampler=BucketBatchSampler(range(8), 2, lengths=[1] * 8))  # pyright: ignore[reportArgumentType]
    first = list(loader.batch_sampler)
    loader.batch_sampler.sampler.set_epoch(1)  # pyright: ignore[reportAttributeAccessIssue,reportOptionalMemberAccess]
    assert first != list(loader.batch_sampler)
    assert sorted(torch.cat(list(loader)).tolist()) == list(range(8))


OURS = {"CombinedDatasetRatioSampler": {}, "DistributedEvalSampler": {}, "BucketBatchSampler": {"batch_size"}}
TORCHS = {
    "BatchSampler": {"sampler", "batch_size", "drop_last"},
    "DistributedSampler": {"dataset"},
    "RandomSampler": {"data_source"},
    "SequentialSampler": {"data_source"},
    "SubsetRandomSampler": {"indices"},
    "WeightedRandomSampler": {"weights", "num_samples"},
}


def test_the_group_holds_torchs_samplers_and_ours():
    names = {name.removesuffix(".yaml") for name in ConfigStore.instance().list("dataloader/sampler")}
    assert names == {*OURS, *TORCHS}


@pytest.mark.parametrize(("name", "required"), [*TORCHS.items(), *((name, {"dataset", *rest}) for name, rest in OURS.items())])
def test_required_arguments_are_marked(name: str, required: set[str]):
    assert OmegaConf.missing_keys(OmegaConf.create(external_store["dataloader/sampler", name])) == required


def test_a_registered_sampler_is_built_from_its_config():
    sampler = instantiate(external_store["dataloader/sampler", "CombinedDatasetRatioSampler"], dataset=parts(3, 3), ratios=[1, 2])
    assert Counter(index // 3 for index in sampler) == {0: 2, 1: 4}
