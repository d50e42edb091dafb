"""In which order, and in which batches, a rank draws from a data set: a pure function of (seed, epoch).

So a run that resumes finds its place from the number of batches alone. With mmkit's samplers, batch ``b`` of all ranks together
holds the draws ``b * G`` to ``(b + 1) * G`` of the epoch, G being the global batch size, for any number of ranks.
"""

from collections.abc import Iterator
from typing import Protocol

from torch.utils.data import Sampler

from mmkit.dataloader.draws import Draws
from mmkit.dataloader.sampler import RankSampler


_CHUNK = 2**14  # draws computed at once: a few milliseconds


class Order(Protocol):
    """The batches of this rank."""

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        ...

    def batches(self, epoch: int, start: int) -> Iterator[Draws]:
        """The batches of an epoch from number ``start`` on."""
        ...


class EpochBatches(Sampler[Draws]):
    """The batches of one epoch after another, as a loader asks for them.

    Args:
        order: Where the batches come from.
        epoch: The first epoch.
        start_batch: Batch at which the first epoch starts; ``len`` is that of a full epoch all the same.
        constant: Repeat the first epoch, whatever :meth:`set_epoch` says.
    """

    def __init__(self, order: Order, epoch: int = 0, start_batch: int = 0, constant: bool = False) -> None:
        self.order, self.epoch, self.start_batch, self.constant = order, epoch, start_batch, constant

    @property
    def sampler(self) -> "EpochBatches":
        """Where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of another epoch; nothing changes if it is the present one.

        Lightning calls this after it has begun to iterate over the first epoch, and before it iterates over any other.
        """
        if epoch != self.epoch and not self.constant:
            self.epoch, self.start_batch = epoch, 0

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Draws]:
        return self.order.batches(self.epoch, self.start_batch)


class SampledOrder:
    """Consecutive draws of one of mmkit's samplers, which are read at any position without making those before.

    Args:
        sampler: The sampler.
        batch_size: Draws per batch.
        drop_last: Leave out the last batch if it is smaller.
    """

    def __init__(self, sampler: RankSampler, batch_size: int, drop_last: bool) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __len__(self) -> int:
        return num_batches(len(self.sampler), self.batch_size, self.drop_last)

    def batches(self, epoch: int, start: int) -> Iterator[Draws]:
        step = max(_CHUNK // self.batch_size, 1)
        for first in range(start, len(self), step):
            stop = min(first + step, len(self))
            self.sampler.set_epoch(epoch)
            indices = self.sampler.indices(first * self.batch_size, min(stop * self.batch_size, len(self.sampler))).tolist()
            for number in range(first, stop):
                offset = (number - first) * self.batch_size
                yield self._batch(indices[offset : offset + self.batch_size], epoch, number)

    def _batch(self, indices: list[int], epoch: int, number: int) -> Draws:
        rank, count = self.sampler.rank, self.sampler.num_replicas
        first = number * self.batch_size * count + rank
        return Draws(indices, epoch, range(first, first + len(indices) * count, count))


def num_batches(size: int, batch_size: int, drop_last: bool) -> int:
    """How many batches ``size`` draws make."""
    return size // batch_size if drop_last else -(-size // batch_size)
