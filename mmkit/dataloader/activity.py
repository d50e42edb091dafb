"""What the workers of a loader are doing, readable while they hang and after they died."""

import os
import time
from enum import IntEnum
from typing import NamedTuple

import torch
from torch.utils.data import get_worker_info


class Phase(IntEnum):
    """Phases of a worker's work."""

    IDLE = 0
    READING = 1
    COLLATING = 2


class Activity(NamedTuple):
    """What a worker is doing, and with what.

    Attributes:
        worker: Its number; None in the main process.
        pid: Its process.
        phase: What it does.
        dataset_index: Data set of the example that it read last.
        position: Position of that example in its data set.
        since: Start of the phase, a value of ``time.monotonic()``.
    """

    worker: int | None
    pid: int
    phase: Phase
    dataset_index: int
    position: int
    since: float


class ActivityBoard:
    """A table in shared memory with one row per worker, which only that worker writes.

    Args:
        num_workers: Number of workers; 0 for a loader that reads in the main process.
    """

    def __init__(self, num_workers: int) -> None:
        self._num_workers = num_workers
        self._table = torch.zeros(max(num_workers, 1), 5, dtype=torch.float64).share_memory_()

    def reading(self, dataset_index: int, position: int) -> None:
        """Note that this process starts to read an example."""
        self._row()[:] = os.getpid(), Phase.READING, dataset_index, position, time.monotonic()

    def now(self, phase: Phase) -> None:
        """Note that this process starts another phase."""
        row = self._row()
        row[1], row[4] = phase, time.monotonic()

    def activities(self) -> list[Activity]:
        """What every worker is doing that has read anything so far."""
        numbers = range(self._num_workers) if self._num_workers else [None]
        rows = zip(numbers, self._table.tolist(), strict=True)
        return [
            Activity(number, int(pid), Phase(int(phase)), int(dataset_index), int(position), since)
            for number, (pid, phase, dataset_index, position, since) in rows
            if pid
        ]

    def _row(self):
        worker = get_worker_info()
        return self._table.numpy()[worker.id if worker else 0]
