"""The random numbers of one batch, and whose they were before."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import get_worker_info

from mmkit import rng
from mmkit.dataloader.activity import ActivityBoard, Phase


class BatchRandomness:
    """Between data set and collator of one loader: the key of the batch in work, and the states of the outer generators.

    In the main process, the states of the global generators are exchanged once per batch, not per example, because that takes a
    good tenth of a millisecond. Workers have nobody to keep anything for.
    """

    def __init__(self) -> None:
        self._key: int | None = None
        self._outer: rng.States | None = None

    @property
    def idle(self) -> bool:
        """Whether no batch is in work."""
        return self._key is None

    def begin(self, key: int) -> None:
        """Start a batch, whose collation will be seeded with ``key``."""
        self._key = key
        self._keep_outer()

    def pause(self) -> None:
        """Give the generators back; the batch in work may still be collated."""
        outer, self._outer = self._outer, None
        if outer is not None:
            rng.restore(outer)

    def seed_collation(self) -> None:
        """Seed the global generators for the collation of the batch in work."""
        if self._key is not None:
            self._keep_outer()
            rng.seed_all(self._key, devices=False)

    def end(self) -> None:
        """End the batch in work, if there is one, and give the generators back."""
        self.pause()
        self._key = None

    def _keep_outer(self) -> None:
        if self._outer is None and get_worker_info() is None:
            self._outer = rng.captured(devices=False)


class SeededCollator:
    """Seed the global generators before a batch is collated, for random batch processors.

    Args:
        collate: Makes a batch of a list of examples.
        randomness: Shared with the data set of the same loader.
        board: Where the work is noted.
    """

    def __init__(self, collate: Callable[[Any], Any], randomness: BatchRandomness, board: ActivityBoard) -> None:
        self.collate, self.randomness, self.board = collate, randomness, board

    def __call__(self, examples: Any) -> Any:
        self.board.now(Phase.COLLATING)
        self.randomness.seed_collation()
        try:
            return self.collate(examples)
        finally:
            self.board.now(Phase.IDLE)
            self.randomness.end()
