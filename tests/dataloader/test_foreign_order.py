import random
from itertools import count, islice

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, WeightedRandomSampler

from mmkit import rng
from mmkit.dataloader.foreign_order import ForeignBatchOrder, ForeignOrder, Replica, steady


class Custom:
    """Draws from all global generators while it goes, and knows the epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self):
        for _ in range(17):
            yield random.randrange(10) + np.random.randint(10) + int(torch.randint(10, ())) + 100 * self.epoch

    def __len__(self) -> int:
        return 17


SAMPLERS = {
    "random": lambda: RandomSampler(range(17)),  # pyright: ignore[reportArgumentType]
    "with replacement": lambda: RandomSampler(range(17), replacement=True, num_samples=40),  # pyright: ignore[reportArgumentType]
    "weighted": lambda: WeightedRandomSampler([1.0, 2.0, 3.0], 17),
    "own generator": lambda: RandomSampler(range(17), generator=torch.Generator()),  # pyright: ignore[reportArgumentType]
    "custom": Custom,
}


def told(batches) -> list[tuple]:
    return [(list(draws), draws.epoch, list(draws.positions)) for draws in batches]


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_of_any_sampler_can_be_read_from_any_batch(make, drop_last: bool):
    order = ForeignOrder(make(), 4, drop_last, Replica(0, 1), seed=3)
    epochs = [told(order.batches(epoch, 0)) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert [len(epoch) for epoch in epochs] == [len(order)] * 3
    for epoch in (2, 0, 1):
        for start in range(len(order) + 1):
            fresh = ForeignOrder(make(), 4, drop_last, Replica(0, 1), seed=3)
            torch.manual_seed(start)  # must not matter
            assert told(fresh.batches(epoch, start)) == epochs[epoch][start:]


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_draws_are_dealt_out_to_ranks(make):
    def batches(rank: int, num_replicas: int, drop_last: bool) -> list:
        return list(ForeignOrder(make(), 2, drop_last, Replica(rank, num_replicas), seed=0).batches(1, 0))

    alone = [index for draws in batches(0, 1, False) for index in draws]
    for drop_last in (False, True):
        shares = [[index for draws in batches(rank, 3, drop_last) for index in draws] for rank in range(3)]
        steps = [index for step in zip(*shares, strict=True) for index in step]
        if drop_last:
            assert steps == alone[: len(alone) // 6 * 6]
        else:
            assert steps == (alone + alone)[: -(-len(alone) // 3) * 3]


def test_a_sampler_that_divides_itself_is_left_to_it():
    sampler = DistributedSampler(range(10), num_replicas=2, rank=1, shuffle=False)  # pyright: ignore[reportArgumentType]
    order = ForeignOrder(sampler, 2, False, Replica(0, 2), seed=0)
    assert told(order.batches(0, 1)) == [([5, 7], 0, [5, 7]), ([9], 0, [9])]


def test_batches_of_any_batch_sampler_are_dealt_out():
    class Batches(BatchSampler):
        pass

    def batches(rank: int, num_replicas: int, start: int = 0) -> list[list[int]]:
        sampler = Batches(RandomSampler(range(10)), 2, drop_last=False)  # pyright: ignore[reportArgumentType]
        order = ForeignBatchOrder(sampler, Replica(rank, num_replicas), seed=0)
        result = [list(draws) for draws in order.batches(2, start)]
        assert len(result) == len(order) - start
        return result

    alone = batches(0, 1)
    assert batches(0, 2) == alone[::2]
    assert batches(1, 2) == [*alone[1::2], alone[0]]
    assert batches(1, 2, start=2) == [alone[0]]


def test_endless_samplers_have_no_length():
    class Endless:
        def __iter__(self):
            return count()

    order = ForeignOrder(Endless(), 3, False, Replica(0, 1), seed=0)
    with pytest.raises(TypeError, match="Endless has no length"):
        len(order)
    assert [list(draws) for draws in islice(order.batches(0, 2), 2)] == [[6, 7, 8], [9, 10, 11]]


def test_a_steady_iterator_and_its_surroundings_do_not_disturb_each_other():
    def numbers():
        for _ in range(7):
            yield random.random(), np.random.normal(), torch.rand(()).item()

    def mixed(chunk: int) -> tuple[list, list]:
        rng.seed_all(9)
        inner = steady(numbers, key=4, chunk=chunk)
        pairs = [(next(inner), next(numbers())) for _ in range(7)]
        assert next(inner, None) is None
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    with rng.preserved():
        rng.seed_all(9)
        outer = [next(numbers()) for _ in range(7)]
        rng.seed_all(4)
        alone = list(numbers())
        assert mixed(1) == mixed(3) == mixed(7) == mixed(100) == (alone, outer)
