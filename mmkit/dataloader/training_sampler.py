"""The order of training data where the configuration names no sampler."""

import math
from collections.abc import Sized

from torch import Tensor

from mmkit.dataloader.permutation import permuted
from mmkit.dataloader.sampler import RankSampler


class TrainingSampler(RankSampler):
    """Visit every example once per epoch, with as many draws on every rank.

    Args:
        dataset: The data set.
        shuffle: Visit the examples in random order.
        drop_last: Leave out the remainder that does not fill all ranks; otherwise the first draws fill it up.
        num_replicas: Number of ranks; the process group's by default, or one without a group.
        rank: This rank; likewise.
        seed: Number that decides the order, together with the epoch.

    Example:
        >>> [list(TrainingSampler(range(5), shuffle=False, num_replicas=2, rank=rank)) for rank in (0, 1)]
        [[0, 2, 4], [1, 3, 0]]
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        drop_last: bool = False,
        num_replicas: int | None = None,
        rank: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle, seed)
        self.drop_last = drop_last

    def __len__(self) -> int:
        per_rank = len(self.dataset) / self.num_replicas
        return math.floor(per_rank) if self.drop_last else math.ceil(per_rank)

    def indices(self, start: int, stop: int) -> Tensor:
        positions = self._positions(start, stop) % len(self.dataset)
        return permuted(positions, len(self.dataset), self._key("order")) if self.shuffle else positions
