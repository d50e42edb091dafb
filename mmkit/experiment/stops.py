"""Requests to stop a run: signals, a time limit, a fault on one rank; and how all ranks come to obey the same one together."""

import enum
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed

from mmkit.distributed import replica
from mmkit.errors import InterruptedByUserError, MMKitError, NonFiniteError, StoppedError
from mmkit.experiment.duration import parse_duration


_INTERRUPT_NOTICE = b"\nstopping at the next batch boundary; again to stop at once\n"


class StopReason(enum.IntEnum):
    """Why a run is to stop. If ranks have different reasons, the highest number counts."""

    MAX_TIME = 1
    SIGUSR1 = 2
    SIGUSR2 = 3
    SIGTERM = 4
    SIGINT = 5
    NON_FINITE = 6

    @property
    def label(self) -> str:
        """As ``StoppedError.reason`` says it, e.g. ``"SIGTERM"``."""
        return "max_time_per_run" if self is StopReason.MAX_TIME else self.name

    @property
    def saves(self) -> bool:
        """Whether the run's state is worth saving."""
        return self is not StopReason.NON_FINITE


_REASONS = {
    getattr(signal, reason.name): reason
    for reason in (StopReason.SIGUSR1, StopReason.SIGUSR2, StopReason.SIGTERM, StopReason.SIGINT)
    if hasattr(signal, reason.name)  # Windows has no SIGUSR1
}


class Stops:
    """Requests to stop, remembered until training comes to a place where it can be saved.

    The handlers only set a flag, and so do ``request`` and the time limit. ``agreed``, called between batches, turns them into
    one decision of all ranks. A second Ctrl-C does not wait: it raises ``KeyboardInterrupt``.

    Args:
        max_time: How long this run may take, counted from the construction of this object; see ``parse_duration``.
    """

    def __init__(self, max_time: timedelta | str | Mapping[str, float] | None = None) -> None:
        self._deadline = math.inf if max_time is None else time.monotonic() + parse_duration(max_time).total_seconds()
        self._wanted = 0
        self._interrupted = False
        self._agreed: StopReason | None = None
        self._fault: MMKitError | None = None
        self._handlers: dict[int, Any] = {}
        self._process = os.getpid()
        self._speaks = True
        self._ranks: _Ranks | None = None

    # Handlers

    def install(self) -> None:
        """Take SIGTERM, SIGUSR1, SIGUSR2 and SIGINT over. Outside the main thread, where Python forbids it, nothing happens.

        Lightning registers a handler for SIGTERM right before ``on_train_start``, which ends training without saving it.
        Installed from ``on_train_start``, this one replaces it.
        """
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        self._process, self._speaks = os.getpid(), replica()[0] == 0
        self._handlers = {number: signal.signal(number, self._on_signal) for number in _REASONS}

    def restore(self) -> None:
        """Give the signals back to whom they belonged before."""
        handlers, self._handlers = self._handlers, {}
        _give_back(handlers)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return _in_forked_process(number)
        reason = _REASONS[number]
        if reason is StopReason.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            if self._speaks:
                with suppress(OSError):
                    os.write(2, _INTERRUPT_NOTICE)  # print() could wait for a lock that the interrupted code holds
        self._wanted = max(self._wanted, reason)
        return None

    # Requests and decisions

    def request(self, reason: StopReason, error: MMKitError | None = None) -> None:
        """Ask for a stop at the next boundary, on behalf of this rank.

        Args:
            reason: Why.
            error: What ``error()`` is to return on this rank.
        """
        self._wanted = max(self._wanted, reason)
        self._fault = error or self._fault

    def agreed(self) -> StopReason | None:
        """Whether to stop now, and why.

        With several ranks this is a collective call: all of them make it at the same places and get the same answer.
        The answer stays once it is given.
        """
        wanted = self._wanted
        if not wanted and time.monotonic() >= self._deadline:
            wanted = self._wanted = StopReason.MAX_TIME
        if self._ranks is None:
            self._ranks = _Ranks()
        if self._ranks.several:
            wanted = int(self._ranks.reduce(wanted, distributed.ReduceOp.MAX))
        if not wanted:
            return None
        self._agreed = StopReason(wanted)
        return self._agreed

    def common_count(self, n: int) -> int:
        """The smallest ``n`` of all ranks: so many times can each of them call ``agreed``. A collective call, too."""
        if self._ranks is None:
            self._ranks = _Ranks()
        return int(self._ranks.reduce(n, distributed.ReduceOp.MIN)) if self._ranks.several else n

    def error(self, saved: Path | str | None = None) -> MMKitError:
        """The error with which the run is to end.

        Args:
            saved: Where the state was saved; None if it was not.
        """
        reason = self._agreed or StopReason(self._wanted)
        if reason is StopReason.NON_FINITE:
            return self._fault or NonFiniteError("Another rank found NaN or infinity; its nonfinite-rank-N.json says where.")
        cls = InterruptedByUserError if reason is StopReason.SIGINT else StoppedError
        who = "by Ctrl-C" if reason is StopReason.SIGINT else f"by {reason.label}"
        what = (
            f"saved to {saved}. The run can be resumed."
            if saved
            else "nothing was saved, because no checkpoint callback is there."
        )
        return cls(f"Stopped {who}; {what}", reason.label)


class _Ranks:
    """All ranks, with a process group of their own on the CPU: deciding does not wait for an accelerator."""

    def __init__(self) -> None:
        self.several = replica()[1] > 1
        self._group = distributed.new_group(backend="gloo") if self.several else None

    def reduce(self, value: int, operation: Any) -> int:
        number = torch.tensor(value)
        try:
            distributed.all_reduce(number, operation, group=self._group)
        except RuntimeError as error:
            raise MMKitError("Another rank ended before this one; its log file says why.") from error
        return int(number.item())


@contextmanager
def early_stop_signals(message: str = "Nothing was lost: no step was trained.") -> Iterator[None]:
    """Let SIGTERM, SIGUSR1 and SIGUSR2 raise ``StoppedError`` at once, where there is nothing to save.

    If the error is lost on the way, because something caught it, it is raised again at the end. Outside the main thread
    nothing happens. Ctrl-C stays ``KeyboardInterrupt``.

    Args:
        message: What the error says after the signal's name.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process, stopped = os.getpid(), []

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            return _in_forked_process(number)
        reason = _REASONS[number].label
        stopped.append(StoppedError(f"Stopped by {reason}. {message}", reason))
        raise stopped[-1]

    handlers = {number: signal.signal(number, stop) for number in _REASONS if number != signal.SIGINT}
    try:
        yield
    finally:
        _give_back(handlers)
    if stopped:
        raise stopped[0]


def _in_forked_process(number: int) -> None:
    """Act for a process that inherited a handler: whether to stop is its parent's business, but SIGTERM must end it.

    Terminal and job managers send a signal to the whole process group; multiprocessing ends its workers with SIGTERM.
    """
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _give_back(handlers: Mapping[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python
