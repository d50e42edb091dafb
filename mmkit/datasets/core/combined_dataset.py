"""Several data sets as one, whose examples know where they come from."""

import operator
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import accumulate, count
from typing import Any, NoReturn, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from mmkit.constants import DATASET_INDEX_KEY, EXAMPLE_INDEX_KEY
from mmkit.datasets.core.example import Example
from mmkit.distributed import replica


Datasets = Sequence[Dataset[Example]] | Mapping[str, Dataset[Example]]


class CombinedDataset(Dataset[Example]):
    """Join data sets and set ``dataset_index`` and ``example_ids`` of their examples.

    Each data set returns examples with an integer ``example_index``. The same index may come back: two examples with
    equal ids are two views of one thing, for example renderings, and are never each other's negatives.

    If all data sets are map-style, so is the combination: it has ``combined[i]``, keeps no state, and any sampler or
    ``shuffle=True`` orders it. If one is an ``IterableDataset``, so is the combination, a
    :class:`StreamedCombinedDataset`, and PyTorch's ``DataLoader`` refuses ``shuffle`` and samplers for it.

    Args:
        datasets: The data sets, in the order of their ``dataset_index``. The keys of a mapping name them in errors.

    Raises:
        TypeError: There is something else than a data set, or a map-style one without a length.
        ValueError: There is no data set, one is empty or itself combined. On access: an ``example_index`` is missing or
            no integer.

    Example:
        >>> combined = CombinedDataset([[Example(example_index=7)], [Example(example_index=7), Example(example_index=8)]])
        >>> [example.example_ids for example in combined]
        [(0, 7), (1, 7), (1, 8)]
    """

    def __new__(cls, datasets: Datasets, *_: Any, **__: Any) -> Self:
        streamed = any(isinstance(dataset, IterableDataset) for dataset in _parts(datasets))
        return object.__new__(StreamedCombinedDataset if streamed and cls is CombinedDataset else cls)  # pyright: ignore

    def __init__(self, datasets: Datasets) -> None:
        self.datasets: list[Any] = _parts(datasets)
        self.names = [str(name) for name in datasets] if isinstance(datasets, Mapping) else [""] * len(self.datasets)
        if not self.datasets:
            raise ValueError("CombinedDataset needs at least one data set, got none.")
        for dataset_index, dataset in enumerate(self.datasets):
            self._check(dataset_index, dataset)
        if not isinstance(self, IterableDataset):
            #: The sum of the sizes of the first 1, 2, ... data sets, as in ``torch.utils.data.ConcatDataset``.
            self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __getnewargs__(self) -> tuple[list[Any]]:
        return (self.datasets,)

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Example:
        position = operator.index(index)
        position += len(self) if position < 0 else 0
        if not 0 <= position < len(self):
            raise IndexError(f"Index {index} is out of range for {len(self)} examples.")
        dataset_index = bisect_right(self.cumulative_sizes, position)
        position -= self.cumulative_sizes[dataset_index - 1] if dataset_index else 0
        return self._identified(self.datasets[dataset_index][position], dataset_index, position)

    def lengths(self, key: str) -> Tensor:
        """The length of each example's ``key``, ``LongTensor`` (len(self),), without loading the examples.

        Raises:
            TypeError: A data set has no method ``lengths(key)`` that returns its own.
        """
        for dataset_index, dataset in enumerate(self.datasets):
            if not hasattr(dataset, "lengths"):
                raise TypeError(f"{self._name(dataset_index)} needs a method `lengths(key)` that returns one length per example.")
        return torch.cat([torch.as_tensor(dataset.lengths(key), dtype=torch.long) for dataset in self.datasets])

    def _identified(self, example: Any, dataset_index: int, position: int) -> Example:
        if not isinstance(example, Example):
            raise TypeError(
                f"{self._name(dataset_index)} must return an Example, got {type(example).__name__} at position {position}."
            )
        example = Example(example)  # the data set may keep its own
        try:
            example[EXAMPLE_INDEX_KEY] = operator.index(example[EXAMPLE_INDEX_KEY])
        except (KeyError, TypeError):
            found = repr(example[EXAMPLE_INDEX_KEY]) if EXAMPLE_INDEX_KEY in example else "none"
            raise ValueError(
                f"{self._name(dataset_index)} must give every example an integer `{EXAMPLE_INDEX_KEY}`, got {found} at "
                f"position {position}. The example has: {', '.join(example) or 'no keys'}."
            ) from None
        example[DATASET_INDEX_KEY] = dataset_index
        example.create_ids()
        return example

    def _check(self, dataset_index: int, dataset: Any) -> None:
        if isinstance(dataset, CombinedDataset):
            raise ValueError(f"{self._name(dataset_index)} is combined already; pass its `datasets`, so that ids stay distinct.")
        if isinstance(dataset, str) or not (isinstance(dataset, IterableDataset) or hasattr(dataset, "__getitem__")):
            raise TypeError(f"{self._name(dataset_index)} is no data set, got {type(dataset).__name__}.")
        size = _size(dataset)
        if size is None and not isinstance(dataset, IterableDataset):
            raise TypeError(f"{self._name(dataset_index)} is map-style and needs a `__len__`.")
        if size == 0:
            raise ValueError(f"{self._name(dataset_index)} is empty. Leave it out, or check the path and the split it reads.")

    def _name(self, dataset_index: int) -> str:
        name = f" {self.names[dataset_index]!r}" if self.names[dataset_index] else ""
        return f"Data set {dataset_index}{name} ({type(self.datasets[dataset_index]).__name__})"


class StreamedCombinedDataset(CombinedDataset, IterableDataset[Example]):
    """What ``CombinedDataset(...)`` makes of data sets of which at least one is iterable.

    An iteration is an epoch: it starts every data set anew and passes each of its examples to exactly one of the
    workers of one of the ranks. Map-style data sets take part, in their own order. The data sets alternate in proportion
    to their lengths, or one by one where a length is unknown, until all are used up.

    Every worker reads an iterable data set completely and keeps its share. To save that, or if the data set looks at
    ``get_worker_info()`` itself, define ``shard(num_shards: int, index: int)`` in it, which returns the iterable of one
    share.

    ``len`` is the number of examples that this rank reads, where it is known. Ranks may differ by one example per data
    set, and each worker makes its own batches, so the loader may make more, smaller ones than its length says.
    """

    def __init__(self, datasets: Datasets) -> None:
        super().__init__(datasets)
        self._replica = replica()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_replica": self._current_replica()}  # a spawned worker has no process group

    def __getitem__(self, index: int) -> NoReturn:
        raise TypeError("This CombinedDataset has iterable data sets: it has no positions; iterate over it.")

    def __len__(self) -> int:
        rank, num_replicas = self._current_replica()
        sizes = [_size(dataset) for dataset in self.datasets]
        if None in sizes:
            raise TypeError(f"The length is unknown: {self._name(sizes.index(None))} has none.")
        return sum(len(range((rank - i) % num_replicas, size, num_replicas)) for i, size in enumerate(sizes) if size)

    def __iter__(self) -> Iterator[Example]:
        rank, num_replicas = self._current_replica()
        worker = get_worker_info()
        worker_id, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        # With the rank as the faster digit, a rank's share does not depend on the number of workers.
        shard, num_shards = worker_id * num_replicas + rank, num_workers * num_replicas
        # Shifted, so that the remainders of all data sets do not fall to the first shards.
        shares = [self._share(i, (shard - i) % num_shards, num_shards) for i in range(len(self.datasets))]
        sizes = [_size(dataset) for dataset in self.datasets]
        return _alternate(shares, [1 if None in sizes else size or 1 for size in sizes])

    def _current_replica(self) -> tuple[int, int]:
        now = replica()
        return now if now[1] > 1 else self._replica

    def _share(self, dataset_index: int, shard: int, num_shards: int) -> Iterator[Example]:
        dataset = self.datasets[dataset_index]
        numbers: Iterable[int] = count()
        if not isinstance(dataset, IterableDataset):
            numbers = range(shard, len(dataset), num_shards)
            items = (dataset[position] for position in numbers)
        elif hasattr(dataset, "shard"):
            numbers = count(shard, num_shards)
            items = self._divided(dataset_index, shard, num_shards)
        else:
            items = self._not_empty(dataset_index)
        for number, example in self._read(dataset_index, shard, numbers, items):
            if number % num_shards == shard:
                yield self._identified(example, dataset_index, number)

    def _read(self, dataset_index: int, shard: int, numbers: Iterable[int], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Read the items of a data set, or a shard of it, each with its number in the data set."""
        return zip(numbers, items, strict=False)

    def _divided(self, dataset_index: int, shard: int, num_shards: int) -> Iterator[Any]:
        yield from self.datasets[dataset_index].shard(num_shards=num_shards, index=shard)

    def _not_empty(self, dataset_index: int) -> Iterator[Any]:
        number = -1
        for number, example in enumerate(self.datasets[dataset_index]):  # noqa: B007
            yield example
        if number < 0:
            raise ValueError(f"{self._name(dataset_index)} yielded nothing. Is it empty, or does its `__iter__` not start anew?")


def _alternate(iterators: Sequence[Iterator[Example]], weights: Sequence[int]) -> Iterator[Example]:
    """Take from iterator ``i`` as often as ``weights[i]`` says, spread evenly, until all are used up."""
    due = [(0.5 / weight, i) for i, weight in enumerate(weights)]
    heapify(due)
    while due:
        time, i = due[0]
        example = next(iterators[i], None)
        if example is None:
            heappop(due)
        else:
            heapreplace(due, (time + 1 / weights[i], i))
            yield example


def _parts(datasets: Datasets) -> list[Any]:
    if isinstance(datasets, Mapping):
        return list(datasets.values())
    if isinstance(datasets, Sequence) and not isinstance(datasets, str):
        return list(datasets)
    raise TypeError(f"CombinedDataset takes a list or a mapping of data sets, got {type(datasets).__name__}.")


def _size(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        return None
