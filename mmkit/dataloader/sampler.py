"""Samplers: in which order a loader, on one of several ranks, reads a data set.

Every order is a pure function of (seed, epoch), so a run that resumes finds its place from the number of steps alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any

import torch
import torch.utils.data
from torch import Tensor
from torch.utils.data import DistributedSampler, IterableDataset, Sampler

from mmkit.conf.store import external_store, register_table
from mmkit.dataloader.permutation import permuted, random_integers
from mmkit.distributed import replica
from mmkit.rng import derived_key


_CHUNK = 2**14  # indices computed at once: about 6 ms

SAMPLERS = [
    "BatchSampler", "DistributedSampler", "RandomSampler", "SequentialSampler", "SubsetRandomSampler",
    "WeightedRandomSampler",
]  # fmt: skip

register_table("torch.utils.data", SAMPLERS, group="dataloader/sampler")


class RankSampler(DistributedSampler[int]):
    """A sampler that divides its draws over the ranks.

    It is a ``DistributedSampler`` so that Lightning leaves it in place. The base's constructor asks for a process group,
    which need not exist yet, or at all, so the rank is looked up when it is used.
    """

    def __init__(self, dataset: Sized, num_replicas: int | None, rank: int | None, shuffle: bool, seed: int) -> None:
        if isinstance(dataset, IterableDataset):
            raise TypeError(
                f"{type(self).__name__} needs a map-style data set, got {type(dataset).__name__}, which has no positions. "
                "A combined data set is iterable if one of its parts is; leave the sampler out."
            )
        if (rank is None) != (num_replicas is None):
            raise ValueError(f"Give both `rank` and `num_replicas` or neither, got {rank} and {num_replicas}.")
        if rank is not None and num_replicas is not None and not 0 <= rank < num_replicas:
            raise ValueError(f"`rank` must be at least 0 and less than `num_replicas`, got {rank} of {num_replicas}.")
        self.dataset: Any = dataset
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self._given = None if rank is None or num_replicas is None else (rank, num_replicas)

    @property
    def rank(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self._given or replica())[0]

    @property
    def num_replicas(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self._given or replica())[1]

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self), _CHUNK):
            yield from self.indices(start, min(start + _CHUNK, len(self))).tolist()

    def indices(self, start: int, stop: int) -> Tensor:
        """What this rank draws at its positions ``start`` to ``stop``, ``LongTensor`` (stop - start,)."""
        raise NotImplementedError

    def _positions(self, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop) * self.num_replicas + self.rank

    def _key(self, *purpose: int | str) -> int:
        return derived_key(self.seed, self.epoch, *purpose)


@external_store(group="dataloader/sampler")
class DistributedEvalSampler(RankSampler):
    """Visit every example exactly once, on one of the ranks; nothing is repeated, so ranks may differ by one example.

    Args:
        dataset: The data set.
        num_replicas: Number of ranks; the process group's by default, or one without a group.
        rank: This rank; likewise.
        shuffle: Visit the examples in random order.
        seed: Number that decides the order, together with the epoch.

    Example:
        >>> [list(DistributedEvalSampler(range(5), num_replicas=2, rank=rank)) for rank in (0, 1)]
        [[0, 2, 4], [1, 3]]
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = False, seed: int = 0
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle, seed)

    def __len__(self) -> int:
        return len(range(self.rank, len(self.dataset), self.num_replicas))

    def indices(self, start: int, stop: int) -> Tensor:
        positions = self._positions(start, stop)
        return permuted(positions, len(self.dataset), self._key("order")) if self.shuffle else positions


@external_store(group="dataloader/sampler")
class CombinedDatasetRatioSampler(RankSampler):
    """Draw from the parts of a combined data set in given ratios.

    Args:
        dataset: A ``CombinedDataset`` of map-style data sets (or a ``ConcatDataset``).
        ratios: One weight per data set, of any sum: ``[3, 1]`` draws three of four examples from the first. ``0`` leaves
            a data set out. By default the sizes of the data sets.
        num_samples: Number of draws per epoch, over all ranks; by default the number of examples.
        replacement: Draw each example independently. Otherwise the examples of a data set are used up before any comes
            again, so that their frequencies differ by one at most.
        shuffle: Mix the data sets, and choose their examples at random. Otherwise the data sets follow each other, each
            in its own order.
        rank: This rank; the process group's by default, or 0 without a group.
        num_replicas: Number of ranks; likewise.
        drop_last: Leave out the remainder of draws that does not fill all ranks; otherwise the first draws fill it up.
        seed: Number that decides the draws, together with the epoch.

    Raises:
        TypeError: The data set has no positions.
        ValueError: The ratios do not fit the data sets, or ``num_samples`` is too small for them.
    """

    def __init__(
        self,
        dataset: Sized,
        ratios: Sequence[float] | None = None,
        num_samples: int | None = None,
        replacement: bool = False,
        shuffle: bool = True,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle, seed)
        if not hasattr(dataset, "cumulative_sizes"):
            raise TypeError(f"CombinedDatasetRatioSampler needs a CombinedDataset, got {type(dataset).__name__}.")
        ends = list(self.dataset.cumulative_sizes)
        self.sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        self.num_samples = len(dataset) if num_samples is None else num_samples
        self.draws = _divided(self.num_samples, list(ratios) if ratios is not None else self.sizes, len(self.sizes))
        self.replacement, self.drop_last = replacement, drop_last

    def __len__(self) -> int:
        per_rank = self.num_samples / self.num_replicas
        return math.floor(per_rank) if self.drop_last else math.ceil(per_rank)

    def indices(self, start: int, stop: int) -> Tensor:
        draws = self._positions(start, stop) % self.num_samples
        if self.shuffle:
            draws = permuted(draws, self.num_samples, self._key("mix"))
        result = torch.empty_like(draws)
        first_draw = first_index = 0
        for number, (count, size) in enumerate(zip(self.draws, self.sizes, strict=True)):
            mine = (draws >= first_draw) & (draws < first_draw + count)
            result[mine] = first_index + self._examples(draws[mine] - first_draw, size, number)
            first_draw, first_index = first_draw + count, first_index + size
        return result

    def _examples(self, draws: Tensor, size: int, number: int) -> Tensor:
        """Which examples of data set ``number`` its draws 0, 1, ... are."""
        if self.replacement:
            return random_integers(draws, size, self._key("replacement", number))
        return permuted(draws % size, size, self._key("choice", number)) if self.shuffle else draws % size


def _divided(total: int, ratios: Sequence[float], num_datasets: int) -> list[int]:
    """Divide ``total`` into whole numbers in proportion to ``ratios``, the largest remainders rounded up."""
    if len(ratios) != num_datasets:
        raise ValueError(f"`ratios` must have one entry per data set ({num_datasets}), got {len(ratios)}: {list(ratios)}.")
    if any(not math.isfinite(ratio) or ratio < 0 for ratio in ratios) or sum(ratios) == 0:
        raise ValueError(f"`ratios` must be finite, not negative, and not all 0, got {list(ratios)}.")
    quotas = [total * ratio / sum(ratios) for ratio in ratios]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(num_datasets), key=lambda i: counts[i] - quotas[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    starved = [i for i, ratio in enumerate(ratios) if ratio > 0 and counts[i] == 0]
    if starved:
        raise ValueError(
            f"`num_samples`={total} is too small: data set {starved[0]} with ratio {ratios[starved[0]]} gets no draw."
        )
    return counts


@external_store(group="dataloader/sampler")
class BucketBatchSampler(Sampler[list[int]]):
    """Make batches of examples of similar length, so that little of a batch is padding.

    The order of an epoch is cut into pools of ``pool_batches`` batches of every rank; each pool is sorted by length and cut into
    batches, and the batches are shuffled. Ranks get batches of similar length at the same time.

    Use it as ``dataloader.train.batch_sampler``. It divides the batches over the ranks itself.

    Args:
        dataset: A map-style data set.
        batch_size: Examples per batch.
        key: Which key's length counts; given to the data set's method ``lengths(key)``.
        lengths: The lengths, or a function of the data set that returns them, instead of the data set's method.
        pool_batches: Batches per pool and rank; ``1`` is a purely random choice, more are less random and pad less.
        shuffle: Draw pools at random and shuffle the batches.
        drop_last: Leave out what fills no batch on every rank; otherwise the last batch may be smaller, and ranks
            without one repeat the first.
        rank: This rank; the process group's by default, or 0 without a group.
        num_replicas: Number of ranks; likewise.
        seed: Number that decides the order, together with the epoch.

    Raises:
        TypeError: The data set is iterable, or there is no source of lengths.
        ValueError: There is not one length per example.

    Example:
        >>> sampler = BucketBatchSampler("abcdef", batch_size=2, lengths=[9, 1, 8, 2, 7, 3], shuffle=False)
        >>> list(sampler)
        [[1, 3], [5, 4], [2, 0]]
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int,
        key: str = "text",
        lengths: Sequence[int] | Callable[[Any], Sequence[int]] | None = None,
        pool_batches: int = 64,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int | None = None,
        num_replicas: int | None = None,
        seed: int = 0,
    ) -> None:
        #: Where Lightning looks for ``set_epoch``; it also knows the order and the rank.
        self.sampler = DistributedEvalSampler(dataset, num_replicas, rank, shuffle, seed)
        self.lengths = _lengths(dataset, key, lengths)
        self.batch_size, self.pool_batches, self.drop_last = batch_size, pool_batches, drop_last

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the coming epoch."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        count = len(self.lengths) / self.batch_size
        return math.floor(math.floor(count) / self._ranks) if self.drop_last else math.ceil(math.ceil(count) / self._ranks)

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches()
        steps = torch.arange(len(self))
        if self.sampler.shuffle:
            steps = permuted(steps, len(self), derived_key(self.sampler.seed, self.sampler.epoch, "steps"))
        for step in steps.tolist():
            yield batches[(step * self._ranks + self.sampler.rank) % len(batches)].tolist()

    @property
    def _ranks(self) -> int:
        return self.sampler.num_replicas

    def _batches(self) -> tuple[Tensor, ...]:
        """All batches of the epoch, of all ranks."""
        size = len(self.lengths)
        order = torch.arange(size)
        if self.sampler.shuffle:
            order = permuted(order, size, derived_key(self.sampler.seed, self.sampler.epoch, "pools"))
        if self.drop_last:
            order = order[: len(self) * self._ranks * self.batch_size]
        pool = torch.arange(len(order)) // (self.batch_size * self._ranks * self.pool_batches)  # the same for any number of ranks
        by_length = torch.argsort(pool * (self.lengths.max() + 1) + self.lengths[order], stable=True)
        return order[by_length].split(self.batch_size)


def _lengths(dataset: Any, key: str, lengths: Sequence[int] | Callable[[Any], Sequence[int]] | None) -> Tensor:
    if lengths is None and not hasattr(dataset, "lengths"):
        raise TypeError(f"{type(dataset).__name__} has no method `lengths(key)`; add one, or give BucketBatchSampler `lengths`.")
    values = dataset.lengths(key) if lengths is None else lengths(dataset) if callable(lengths) else lengths
    result = torch.as_tensor(values, dtype=torch.long)
    if result.shape != (len(dataset),):
        raise ValueError(f"BucketBatchSampler needs one length per example ({len(dataset)}), got shape {tuple(result.shape)}.")
    return result
