"""The workers of a loader: what they are doing, and of what they died."""

import ctypes
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from mmkit.dataloader.activity import Activity, Phase
from mmkit.dataloader.seeded import SeededDataset, SeededStream, described
from mmkit.errors import MMKitError


CAUSES = {
    "SIGKILL": " The kernel kills processes when memory runs out: use fewer workers or a smaller prefetch_factor.",
    "SIGBUS": " Shared memory ran out: enlarge /dev/shm, or use fewer workers or a smaller prefetch_factor.",
    "SIGSEGV": " A native library crashed that the data set uses.",
}
WORDS = {
    Phase.READING: "while reading",
    Phase.COLLATING: "while collating a batch that ends with",
    Phase.IDLE: "after reading",
}
PATIENCE = 1.0  # seconds; a broken pipe is noticed before the death that broke it


class WorkerFailedError(MMKitError):
    """A worker of a loader died, or took longer than the loader's ``timeout``."""


class Workers:
    """The processes, if any, that read a data set.

    Args:
        dataset: The data set that they read.
        processes: The processes; none if the data set is read in the main process.
    """

    def __init__(self, dataset: SeededDataset | SeededStream, processes: Sequence[BaseProcess] = ()) -> None:
        self.dataset, self.processes = dataset, processes

    def doing(self) -> str:
        """What everyone is busy with, whoever has been so for longest first."""
        busy = sorted((a for a in self.dataset.board.activities() if a.phase != Phase.IDLE), key=lambda a: a.since)
        return "; ".join(self._told(activity) for activity in busy) or "no example is being read"

    def explain(self, error: Exception) -> None:
        """Raise what an error that torch raised while it waited for a batch says about the workers, if anything.

        Raises:
            WorkerFailedError: The error has to do with a worker.
        """
        if isinstance(error.__cause__, WorkerFailedError):
            raise error.__cause__  # not `from error`: the two would be causes of each other
        if (failure := self._failure(error)) is not None:
            raise failure from error

    def _failure(self, error: Exception) -> WorkerFailedError | None:
        if "DataLoader timed out" in str(error):
            return WorkerFailedError(f"{error}: {self.doing()}.")
        if not self.processes or str(error).startswith("Caught "):  # raised by the data set, carried over from a worker
            return None
        return self.death(PATIENCE)

    def death(self, patience: float = 0.0) -> WorkerFailedError | None:
        """Of what, and with what example, a worker died; None if none does within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not (dead := [process for process in self.processes if process.exitcode not in (None, 0)]):
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.01)
        return WorkerFailedError(" ".join(self._death(process) for process in dead))

    def _death(self, process: BaseProcess) -> str:
        last = next((a for a in self.dataset.board.activities() if a.pid == process.pid), None)
        name = _signal_name(process.exitcode)
        end = f"was killed by {name}" if name else f"exited with status {process.exitcode}"
        work = "before it read anything" if last is None else _work(self.dataset, last)
        return f"A worker of the loader (pid {process.pid}) {end} {work}.{CAUSES.get(name, '')}"

    def _told(self, activity: Activity) -> str:
        who = "the main process" if activity.worker is None else f"worker {activity.worker} (pid {activity.pid})"
        return f"{who} for {time.monotonic() - activity.since:.0f} s {_work(self.dataset, activity)}"


def _work(dataset: Any, activity: Activity) -> str:
    example = described(dataset, activity.dataset_index, activity.position)
    words = {
        Phase.READING: "while reading",
        Phase.COLLATING: "while collating a batch that ends with",
        Phase.IDLE: "after reading",
    }
    return f"{words[activity.phase]} {example}"


def _signal_name(exitcode: int | None) -> str:
    return signal.Signals(-exitcode).name if exitcode is not None and exitcode < 0 else ""


_all_workers: weakref.WeakSet[Workers] = weakref.WeakSet()  # as global as the signal handler that looks through it


def report_deaths(workers: Workers) -> None:
    """Explain torch's error, too, where its signal handler raises it while the main process does something else."""
    _all_workers.add(workers)
    handler = signal.getsignal(signal.SIGCHLD)
    if callable(handler) and not isinstance(handler, _ExplainingHandler):
        try:
            signal.signal(signal.SIGCHLD, _ExplainingHandler(handler))
        except ValueError:  # not in the main thread
            return


class _ExplainingHandler:
    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler

    def __call__(self, *args: Any) -> None:
        try:
            self.handler(*args)
        except RuntimeError as error:
            for workers in list(_all_workers):
                named = any(str(process.pid) in str(error) for process in workers.processes)
                if named and (death := workers.death()):
                    raise death from error
            raise


class WorkerStart:
    """Run in every worker before it reads: it ends with the main process, and not before.

    It gets a process group of its own, so that Ctrl-C and signals to the main process's group leave it running until the main
    process has saved. If the main process dies, the kernel ends it (Linux; elsewhere torch's workers look every few seconds).

    Args:
        worker_init_fn: The user's, called after that.
    """

    def __init__(self, worker_init_fn: Callable[[int], None] | None) -> None:
        self.worker_init_fn = worker_init_fn
        self.started_by_main_thread = False  # the kernel watches the thread

    def __call__(self, worker_id: int) -> None:
        os.setpgid(0, 0)
        if sys.platform == "linux" and self.started_by_main_thread:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)
