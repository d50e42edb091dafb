"""What the workers of a loader are doing, readable while they hang and after they died."""

import os
import time
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch.utils.data import get_worker_info


_COLUMNS = 5  # those of Activity without its first


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
        self._table = torch.zeros(max(num_workers, 1) * _COLUMNS, dtype=torch.float64).share_memory_()
        self._cells: Any = None  # a memoryview of the table, which is ten times as fast as a tensor

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cells": None}

    def reading(self, dataset_index: int, position: int) -> None:
        """Note that this process starts to read an example."""
        cells, i = self._row()
        cells[i + 1], cells[i + 2], cells[i + 3], cells[i + 4] = Phase.READING, dataset_index, position, time.monotonic()
        cells[i] = os.getpid()

    def now(self, phase: Phase) -> None:
        """Note that this process starts another phase."""
        cells, i = self._row()
        cells[i + 1], cells[i + 4] = phase, time.monotonic()

    def activities(self) -> list[Activity]:
        """What every worker is doing that has read anything so far."""
        numbers = range(self._num_workers) if self._num_workers else [None]
        rows = zip(numbers, self._table.reshape(-1, _COLUMNS).tolist(), strict=True)
        return [
            Activity(number, int(pid), Phase(int(phase)), int(dataset_index), int(position), since)
            for number, (pid, phase, dataset_index, position, since) in rows
            if pid
        ]

    def _row(self) -> tuple[Any, int]:
        """All cells of the table, and the number of the first in this process's row."""
        if self._cells is None:
            self._cells = memoryview(self._table.numpy())  # pyright: ignore[reportArgumentType]
        worker = get_worker_info()
        return self._cells, worker.id * _COLUMNS if worker else 0
