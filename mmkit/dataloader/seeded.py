"""Data whose every example is read with random numbers of its own."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import torch
from torch.utils.data import IterableDataset

from mmkit import rng
from mmkit.dataloader.activity import ActivityBoard
from mmkit.dataloader.batch_randomness import BatchRandomness
from mmkit.dataloader.draws import Draws
from mmkit.datasets.core import CombinedDataset, Example
from mmkit.datasets.core.combined_dataset import Datasets, StreamedCombinedDataset


class SeededDataset(CombinedDataset):
    """A combined data set that seeds the global generators before every example that a loader draws.

    The seed depends on the epoch, the position of the draw in it, and the index. So random transforms come out the same after a
    resume, in the main process and in workers. Access by a plain index, ``dataset[i]``, seeds nothing.

    Args:
        datasets: As for ``CombinedDataset``.
        key: Names the run and the split.
        randomness: Shared with the collator of the same loader.
        board: Where the work is noted.
    """

    def __init__(self, datasets: Datasets, key: int, randomness: BatchRandomness, board: ActivityBoard) -> None:
        super().__init__(datasets)
        self.key, self.randomness, self.board = key, randomness, board

    def __getitem__(self, index: int | Draws) -> Any:
        return self.__getitems__(index)[0] if isinstance(index, Draws) else super().__getitem__(index)

    def __getitems__(self, draws: Draws) -> list[Example]:
        """The examples of a batch; torch's loaders call this."""
        self.randomness.begin(rng.derived_key(self.key, draws.epoch, "batch", draws.positions[0]))
        try:
            return [self._drawn(index, position, draws.epoch) for index, position in zip(draws, draws.positions, strict=True)]
        except BaseException:
            self.randomness.end()
            raise

    def _drawn(self, index: int, position: int, epoch: int) -> Example:
        dataset_index = bisect_right(self.cumulative_sizes, index)
        place = index - (self.cumulative_sizes[dataset_index - 1] if dataset_index else 0)
        self.board.reading(dataset_index, place)
        rng.seed_all(rng.derived_key(self.key, epoch, position, index), devices=False)
        try:
            return super().__getitem__(index)
        except Exception as error:
            error.add_note(f"Raised while reading {described(self, dataset_index, place)}.")
            raise


class SeededStream(StreamedCombinedDataset):
    """Like :class:`SeededDataset`, for streams.

    The seed depends on the epoch and the number of the example in its data set. Whoever reads a stream as a whole to keep a
    share of it draws the same random numbers on every worker and rank, so a stream may shuffle itself with ordinary random
    functions. What a data set with a method ``shard`` draws before its first example is the same for all shards, too.

    Args:
        datasets: As for ``CombinedDataset``.
        key: Names the run and the split.
        randomness: Shared with the collator of the same loader.
        board: Where the work is noted.
        epoch: The first epoch.
        start_batch: Number of batches of the first epoch that the loader reads and discards.
        constant: Repeat the first epoch.
    """

    def __init__(
        self,
        datasets: Datasets,
        key: int,
        randomness: BatchRandomness,
        board: ActivityBoard,
        epoch: int = 0,
        start_batch: int = 0,
        constant: bool = False,
    ) -> None:
        super().__init__(datasets)
        self.key, self.randomness, self.board = key, randomness, board
        self.start_batch, self.constant = start_batch, constant
        self._epoch = torch.tensor(epoch).share_memory_()  # workers that live on through several epochs look here

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of another epoch; nothing changes if it is the present one."""
        if epoch != int(self._epoch) and not self.constant:
            self._epoch.fill_(epoch)
            self.start_batch = 0

    def __iter__(self) -> Iterator[Example]:
        self._reading_epoch = int(self._epoch)  # a worker may still read ahead when the main process goes to another one
        self.randomness.end()  # a last batch that was dropped
        return self._until_end(super().__iter__())

    def _until_end(self, examples: Iterator[Example]) -> Iterator[Example]:
        try:
            yield from examples
        finally:
            self.randomness.pause()  # a last batch that is smaller is collated after this

    def _read(self, dataset_index: int, shard: int, numbers: Iterable[int], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        iterator = None
        for number in numbers:
            at_start = iterator is None and isinstance(self.datasets[dataset_index], IterableDataset)
            self._begin(dataset_index, shard, number, seed_number=0 if at_start else number)
            try:
                iterator = iter(items) if iterator is None else iterator
                item = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                error.add_note(f"Raised while reading {described(self, dataset_index, number)}.")
                raise
            yield number, item

    def _begin(self, dataset_index: int, shard: int, number: int, seed_number: int) -> None:
        if self.randomness.idle:
            self.randomness.begin(rng.derived_key(self.key, self._reading_epoch, "batch", dataset_index, shard, number))
        self.board.reading(dataset_index, number)
        rng.seed_all(rng.derived_key(self.key, self._reading_epoch, "stream", dataset_index, seed_number), devices=False)


class StreamEpoch:
    """Stands where Lightning looks for ``set_epoch``; torch's loaders take no sampler for a stream, but have one.

    Args:
        stream: Is told the epoch.
    """

    def __init__(self, stream: SeededStream) -> None:
        self.stream = stream

    def set_epoch(self, epoch: int) -> None:
        """Tell the stream."""
        self.stream.set_epoch(epoch)

    def __iter__(self) -> Iterator[None]:
        return repeat(None)


def described(dataset: CombinedDataset, dataset_index: int, place: int) -> str:
    """Name an example by its data set and its position there."""
    name = dataset.names[dataset_index]
    class_name = type(dataset.datasets[dataset_index]).__name__
    return f"data set {dataset_index} {name!r} ({class_name}), position {place}".replace(" ''", "")
