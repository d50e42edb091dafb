"""A loader that tells which example it waits for, and which killed a worker."""

import logging
import threading
import time
import weakref
from collections.abc import Iterator
from multiprocessing import active_children
from typing import Any

from torch.utils.data import DataLoader

from mmkit.dataloader.seeded import SeededDataset, SeededStream
from mmkit.dataloader.workers import Workers, WorkerStart, report_deaths


logger = logging.getLogger(__name__)

STALL_SECONDS = 25.0


class WatchedLoader(DataLoader):
    """torch's loader for mmkit's seeded data, with better news about trouble.

    A worker that dies ends the iteration with a :class:`~mmkit.dataloader.workers.WorkerFailedError`, and a batch that is long in
    coming is announced in the log, again and again; both name data set and position. The first ``start_batch`` batches of a
    stream are read and discarded.

    Args:
        dataset: What to read.
        stall_seconds: How long to wait for a batch before each announcement; default: ``STALL_SECONDS``.
        settings: Further arguments of ``DataLoader``.
    """

    def __init__(self, dataset: SeededDataset | SeededStream, stall_seconds: float | None = None, **settings: Any) -> None:
        self.stall_seconds = STALL_SECONDS if stall_seconds is None else stall_seconds
        self.workers = Workers(dataset)
        if settings.get("num_workers"):
            settings["worker_init_fn"] = WorkerStart(settings.get("worker_init_fn"))
        super().__init__(dataset, **settings)

    def __iter__(self) -> "WatchedIterator":  # pyright: ignore[reportIncompatibleMethodOverride]
        if isinstance(self.worker_init_fn, WorkerStart):
            self.worker_init_fn.started_by_main_thread = threading.current_thread() is threading.main_thread()
        others = set(active_children())
        try:
            batches = super().__iter__()
        except (RuntimeError, OSError, EOFError) as error:
            self.workers.explain(error)
            raise
        started = [process for process in active_children() if process not in others]
        if started:  # otherwise there are none, or those of the last iteration go on
            self.workers = Workers(self.workers.dataset, started)
            report_deaths(self.workers)
        return WatchedIterator(batches, self.workers, self.stall_seconds, getattr(self.dataset, "start_batch", 0))


class WatchedIterator:
    """One epoch of a :class:`WatchedLoader`.

    Args:
        batches: torch's iterator.
        workers: Who makes the batches.
        stall_seconds: Time between announcements of a late batch.
        start_batch: Number of batches to discard.
    """

    def __init__(self, batches: Iterator[Any], workers: Workers, stall_seconds: float, start_batch: int = 0) -> None:
        self._batches, self._workers, self._start_batch = batches, workers, start_batch
        self._clock = _StallClock(workers, stall_seconds)
        weakref.finalize(self, self._clock.closed.set)

    def __iter__(self) -> "WatchedIterator":
        return self

    def __next__(self) -> Any:
        if self._start_batch:
            self._discard()
        return self._next()

    def _discard(self) -> None:
        count, self._start_batch = self._start_batch, 0
        logger.info("Reading %d batches of a stream again to continue after them.", count)
        for _ in range(count):
            self._next()

    def _next(self) -> Any:
        self._clock.start()
        try:
            return next(self._batches)
        except (RuntimeError, OSError, EOFError) as error:
            self._workers.explain(error)
            raise
        finally:
            self._clock.stop()


class _StallClock:
    """A thread that announces how long a batch has been awaited. It knows nothing of the iterator, which may be collected."""

    def __init__(self, workers: Workers, interval: float) -> None:
        self.workers, self.interval = workers, interval
        self.closed = threading.Event()
        self._since: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mmkit-loader-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._since = None

    def _run(self) -> None:
        announced: tuple[float | None, int] = (None, 0)
        while not self.closed.wait(min(self.interval / 10, 1.0)):
            since = self._since
            if since is None:
                continue
            waited = time.monotonic() - since
            times = announced[1] if announced[0] == since else 0
            if waited >= self.interval * (times + 1):
                announced = since, times + 1
                logger.warning("Waiting for a batch for %.0f s: %s.", waited, self.workers.doing())
