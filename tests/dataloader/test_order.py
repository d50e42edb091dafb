import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset

from mmkit.dataloader import order as module
from mmkit.dataloader.foreign_order import ForeignBatchOrder, Replica
from mmkit.dataloader.order import EpochBatches, SampledOrder
from mmkit.dataloader.sampler import BucketBatchSampler, CombinedDatasetRatioSampler
from mmkit.dataloader.training_sampler import TrainingSampler


def told(batches) -> list[tuple]:
    return [(list(draws), draws.epoch, list(draws.positions)) for draws in batches]


@given(st.integers(1, 30), st.integers(1, 6), st.booleans(), st.integers(1, 3), st.booleans())
def test_batches_are_those_of_a_naive_loop(size: int, batch_size: int, drop_last: bool, num_replicas: int, shuffle: bool):
    def make() -> TrainingSampler:
        return TrainingSampler(range(size), shuffle, drop_last, num_replicas, rank=num_replicas - 1)

    order = SampledOrder(make(), batch_size, drop_last)
    for epoch in range(2):
        sampler = make()
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        naive = [drawn[i : i + batch_size] for i in range(0, len(drawn), batch_size)]
        naive = [batch for batch in naive if len(batch) == batch_size or not drop_last]
        assert [list(draws) for draws in order.batches(epoch, 0)] == naive
        assert len(order) == len(naive)
        for start in range(len(naive) + 1):
            assert told(order.batches(epoch, start)) == told(order.batches(epoch, 0))[start:]


def test_long_epochs_are_made_in_chunks_that_fit_together(monkeypatch):
    order = SampledOrder(TrainingSampler(range(50)), 3, drop_last=False)
    whole = told(order.batches(1, 0))
    monkeypatch.setattr(module, "_CHUNK", 7)
    assert told(order.batches(1, 0)) == whole


def shuffled(rank: int, num_replicas: int, batch_size: int) -> SampledOrder:
    return SampledOrder(TrainingSampler(range(45), True, True, num_replicas, rank), batch_size, drop_last=True)


def filled_up(rank: int, num_replicas: int, batch_size: int) -> SampledOrder:
    return SampledOrder(TrainingSampler(range(44), True, False, num_replicas, rank), batch_size, drop_last=False)


def by_ratio(rank: int, num_replicas: int, batch_size: int) -> SampledOrder:
    data = ConcatDataset([range(20), range(30)])  # pyright: ignore[reportArgumentType]
    sampler = CombinedDatasetRatioSampler(data, [3, 1], rank=rank, num_replicas=num_replicas)
    return SampledOrder(sampler, batch_size, drop_last=True)


def in_buckets(rank: int, num_replicas: int, batch_size: int) -> ForeignBatchOrder:
    lengths = [7 * index % 11 for index in range(45)]
    rank_of = {"rank": rank, "num_replicas": num_replicas}
    sampler = BucketBatchSampler(range(45), batch_size, lengths=lengths, pool_batches=2, drop_last=True, **rank_of)
    return ForeignBatchOrder(sampler, Replica(0, 1), seed=0)


@pytest.mark.parametrize("make", [shuffled, filled_up, by_ratio, in_buckets])
def test_global_batches_and_their_randomness_are_the_same_on_one_two_and_four_ranks(make):
    def global_batches(num_replicas: int) -> list[set]:
        ranks = [make(rank, num_replicas, 8 // num_replicas) for rank in range(num_replicas)]
        assert len({len(order) for order in ranks}) == 1
        steps = zip(*(order.batches(1, 0) for order in ranks), strict=True)
        return [{draw for draws in step for draw in zip(draws, draws.positions, strict=True)} for step in steps]

    assert len(global_batches(1)) >= 5
    assert global_batches(1) == global_batches(2) == global_batches(4)


def test_no_two_draws_of_an_epoch_share_a_position():
    ranks = [list(filled_up(rank, 3, 4).batches(0, 0)) for rank in range(3)]
    positions = [position for rank in ranks for draws in rank for position in draws.positions]
    assert sorted(positions) == list(range(45))  # 44 examples on 3 ranks


def test_an_epoch_starts_in_the_middle_and_the_next_at_the_start():
    order = shuffled(0, 1, 9)
    batches = EpochBatches(order, epoch=2, start_batch=3)
    started = iter(batches)
    batches.sampler.set_epoch(2)  # Lightning, after it began to iterate
    assert told(started) == told(batches) == told(order.batches(2, 3))
    assert len(batches) == 5
    batches.sampler.set_epoch(3)
    assert told(batches) == told(order.batches(3, 0))


def test_evaluation_repeats_its_epoch():
    batches = EpochBatches(shuffled(0, 1, 9), constant=True)
    before = told(batches)
    batches.set_epoch(4)
    assert told(batches) == before


@given(st.integers(1, 30), st.integers(1, 5), st.booleans(), st.booleans())
def test_training_visits_each_example_once_and_fills_up_or_drops(size: int, num_replicas: int, drop_last: bool, shuffle: bool):
    shares = [list(TrainingSampler(range(size), shuffle, drop_last, num_replicas, rank)) for rank in range(num_replicas)]
    length = size // num_replicas if drop_last else -(-size // num_replicas)
    assert {len(share) for share in shares} == {length}
    drawn = [index for step in zip(*shares, strict=True) for index in step]
    assert len(set(drawn[:size])) == min(size, length * num_replicas)
    assert drawn[size:] == (drawn[:size] * num_replicas)[: max(length * num_replicas - size, 0)]
    assert shuffle or drawn[:size] == list(range(size))[: length * num_replicas]
