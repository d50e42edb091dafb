"""The order of samplers that mmkit does not know: run from their start, but with randomness of their own."""

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import cycle, islice
from typing import Any, NamedTuple, TypeVar

import torch

from mmkit import rng
from mmkit.dataloader.draws import Draws
from mmkit.dataloader.order import num_batches


_T = TypeVar("_T")
_ITEMS = 512  # draws taken at once: exchanging the random states takes as long as making hundreds of draws


class Replica(NamedTuple):
    """A rank and the number of ranks."""

    rank: int
    count: int


class ForeignOrder:
    """Draws of any other sampler, which is run from its start, with random numbers that depend on (seed, epoch) alone.

    The sampler may use the global generators or have a ``generator`` of torch. A sampler that has ``num_replicas`` divides its
    draws over ranks itself; those of another one are dealt out in turn, and the first fill up the last round.

    Args:
        sampler: Iterable of indices.
        batch_size: Draws per batch.
        drop_last: Leave out the last batch if it is smaller, and the last round of ranks if it is not full.
        replica: This rank.
        seed: Number that decides the order, together with the epoch.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool, replica: Replica, seed: int) -> None:
        self.sampler, self.batch_size, self.drop_last, self.seed = sampler, batch_size, drop_last, seed
        self.divides_itself = hasattr(sampler, "num_replicas")
        self.replica = Replica(sampler.rank, sampler.num_replicas) if self.divides_itself else replica  # pyright: ignore

    def __len__(self) -> int:
        share = _share(_size(self.sampler), self.replica, self.divides_itself, self.drop_last)
        return num_batches(share, self.batch_size, self.drop_last)

    def batches(self, epoch: int, start: int) -> Iterator[Draws]:
        rank, count = self.replica
        drawn = steady(lambda: self._started(epoch), rng.derived_key(self.seed, epoch, "sampler"), _ITEMS)
        mine = drawn if self.divides_itself else _dealt(drawn, self.replica, self.drop_last)
        mine = islice(mine, start * self.batch_size, None)
        number = start
        while indices := list(islice(mine, self.batch_size)):
            if len(indices) < self.batch_size and self.drop_last:
                return
            first = number * self.batch_size * count + rank
            yield Draws(indices, epoch, range(first, first + len(indices) * count, count))
            number += 1

    def _started(self, epoch: int) -> Iterable[int]:
        _prepare(self.sampler, rng.derived_key(self.seed, epoch, "sampler"), epoch)
        return self.sampler


class ForeignBatchOrder:
    """Batches of any batch sampler, which is run from its start; see :class:`ForeignOrder`.

    Batches of one that does not divide them over ranks itself are dealt out in turn, and the first fill up the last round.

    Args:
        batch_sampler: Iterable of lists of indices. It divides itself if it, or its ``sampler``, has ``num_replicas``.
        replica: This rank.
        seed: Number that decides the order, together with the epoch.
    """

    def __init__(self, batch_sampler: Any, replica: Replica, seed: int) -> None:
        self.batch_sampler, self.seed = batch_sampler, seed
        inner = getattr(batch_sampler, "sampler", None)
        divider = next((sampler for sampler in (batch_sampler, inner) if hasattr(sampler, "num_replicas")), None)
        self.divides_itself = divider is not None
        self.replica = replica if divider is None else Replica(divider.rank, divider.num_replicas)

    def __len__(self) -> int:
        return _share(_size(self.batch_sampler), self.replica, self.divides_itself, drop_last=False)

    def batches(self, epoch: int, start: int) -> Iterator[Draws]:
        rank, count = self.replica
        drawn = steady(lambda: self._started(epoch), rng.derived_key(self.seed, epoch, "sampler"), _ITEMS // 16)
        mine = drawn if self.divides_itself else _dealt(drawn, self.replica, drop_last=False)
        size = getattr(self.batch_sampler, "batch_size", None) or 2**20
        for number, indices in enumerate(islice(mine, start, None), start):
            first = (number * count + rank) * size
            yield Draws(indices, epoch, range(first, first + len(indices)))

    def _started(self, epoch: int) -> Iterable[list[int]]:
        key = rng.derived_key(self.seed, epoch, "sampler")
        for sampler in (getattr(self.batch_sampler, "sampler", None), self.batch_sampler):
            _prepare(sampler, key, epoch)
        return self.batch_sampler


def steady(make: Callable[[], Iterable[_T]], key: int, chunk: int) -> Iterator[_T]:
    """Iterate over ``make()`` with random states that start from ``key`` and that nobody else sees or changes.

    Args:
        make: Called when the first item is asked for.
        key: What the global generators are seeded with; see :func:`mmkit.rng.derived_key`.
        chunk: Items made at once.
    """
    iterator: Iterator[_T] | None = None
    states: Any = None
    items: list[_T] = []
    while iterator is None or len(items) == chunk:
        with rng.preserved(devices=False):
            if iterator is None:
                rng.seed_all(key, devices=False)
                iterator = iter(make())
            else:
                rng.restore(states)
            items = list(islice(iterator, chunk))
            states = rng.captured(devices=False)
        yield from items


def _prepare(sampler: Any, key: int, epoch: int) -> None:
    if isinstance(getattr(sampler, "generator", None), torch.Generator):
        sampler.generator.manual_seed(key)
    if callable(set_epoch := getattr(sampler, "set_epoch", None)):
        set_epoch(epoch)


def _dealt(items: Iterator[_T], replica: Replica, drop_last: bool) -> Iterator[_T]:
    """Every ``count``-th item; the first items fill up the last round unless it is dropped."""
    first: list[_T] = []
    while round_ := list(islice(items, replica.count)):
        first = first or round_
        missing = replica.count - len(round_)
        if missing and drop_last:
            return
        round_.extend(islice(cycle(first), missing))
        yield round_[replica.rank]


def _share(total: int, replica: Replica, divides_itself: bool, drop_last: bool) -> int:
    share = total if divides_itself else total / replica.count
    return math.floor(share) if drop_last else math.ceil(share)


def _size(sampler: Any) -> int:
    if not isinstance(sampler, Sized):
        raise TypeError(f"{type(sampler).__name__} has no length.")  # Lightning takes an epoch without length for endless
    return len(sampler)
