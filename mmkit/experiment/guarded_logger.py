"""A logger that cannot hurt a run, whatever it does: raise, stall, draw random numbers, fill its disk."""

import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import Logger
from torch import Tensor

from mmkit.experiment.redaction import redact
from mmkit.rng import preserved


QUEUE_SIZE = 1000
MAX_FAILURES = 3
_BACKGROUND = ("log_metrics", "log_hyperparams", "save", "after_save_checkpoint")
_Result = TypeVar("_Result")

logger = logging.getLogger(__name__)


class Patience:
    """How long a run still waits for its loggers, all of them together.

    Args:
        seconds: At the beginning.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def spend(self, wait: Callable[[float], _Result]) -> _Result:
        """Wait with something that takes a time limit."""
        began = time.monotonic()
        try:
            return wait(max(0.001, self.seconds))
        finally:
            self.seconds -= time.monotonic() - began


class Guard:
    """Stands between a run and one of its loggers.

    The methods of the logger are replaced on the instance, so that its class stays what it is. Metrics, hyperparameters and the
    like are copied and handed to a thread; when it does not keep up, they are dropped. ``finalize`` waits for the thread as long
    as there is patience. After a few failures the logger is switched off. What has to happen in the main thread leaves
    the global random number generators, and the buffers of the model, as they were.

    Args:
        guarded: The logger.
        patience: Shared by the loggers of a run.
    """

    def __init__(self, guarded: Logger, patience: Patience) -> None:
        self.name = type(guarded).__name__
        self.patience = patience
        self.is_off = False
        self.num_dropped, self.num_failures = 0, 0
        self._calls: queue.Queue[Callable[[], Any]] = queue.Queue(QUEUE_SIZE)
        self._thread: threading.Thread | None = None
        self._replace_methods(guarded)

    def _replace_methods(self, guarded: Logger) -> None:
        names = [name for name in dir(type(guarded)) if name.startswith("log_") and callable(getattr(type(guarded), name))]
        for name in {*names, *_BACKGROUND}:
            in_background = name in _BACKGROUND
            setattr(guarded, name, (self._behind if in_background else self._in_front)(name, getattr(guarded, name)))
        setattr(guarded, "finalize", self._finalizing(guarded.finalize))  # noqa: B010 - a method, for the type checker

    def _behind(self, name: str, method: Callable[..., Any]) -> Callable[..., None]:
        """Run a method in the thread."""

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> None:
            if threading.current_thread() is self._thread:  # one method of the logger calls another
                method(*args, **kwargs)
                return
            copied = [_copied(value) for value in args], {key: _copied(value) for key, value in kwargs.items()}
            if name == "log_hyperparams":
                copied = redact(copied[0]), redact(copied[1])
            if not self._enqueue(functools.partial(method, *copied[0], **copied[1])) and name != "save":
                self.num_dropped += 1

        return call

    def _in_front(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """Run a method here: it may look at the model or at data that will change."""

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is self._thread:
                return method(*args, **kwargs)
            if self.is_off:
                return None
            module = next((value for value in args if isinstance(value, LightningModule)), None)
            buffers = {} if module is None else {name: buffer.clone() for name, buffer in module.named_buffers()}
            with preserved():
                result = self._attempt(functools.partial(method, *args, **kwargs))
            if module is not None:
                with torch.no_grad():
                    for key, buffer in module.named_buffers():
                        buffer.copy_(buffers[key])
            return result

        return call

    def _finalizing(self, method: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> None:
            self.run(functools.partial(method, *args, **kwargs))

        return call

    def run(self, call: Callable[[], Any]) -> None:
        """Run something in the thread, and wait for it."""
        self._enqueue(call, block=True)
        self.wait()

    def wait(self) -> None:
        """Wait until everything is logged, and tell what is not."""
        if self._thread is not None and not self.is_off:
            done = threading.Event()
            if not (self._enqueue(done.set, block=True) and self.patience.spend(done.wait)):
                self.is_off = True
                logger.warning("%s does not finish in time. The run goes on without what it has not written.", self.name)
        if self.num_dropped:
            logger.warning("%s was too slow or switched off: %d calls were dropped.", self.name, self.num_dropped)
            self.num_dropped = 0

    def _enqueue(self, call: Callable[[], Any], block: bool = False) -> bool:
        if self.is_off:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"mmkit-{self.name}", daemon=True)
            self._thread.start()
        try:
            if block:
                self.patience.spend(lambda seconds: self._calls.put(call, timeout=seconds))
            else:
                self._calls.put_nowait(call)
        except queue.Full:
            return False
        return True

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            if not self.is_off or isinstance(getattr(call, "__self__", None), threading.Event):
                self._attempt(call)

    def _attempt(self, call: Callable[[], _Result]) -> _Result | None:
        try:
            result = call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too: a logger ends no run
            self._failed(error)
            return None
        self.num_failures = 0
        return result

    def _failed(self, error: BaseException) -> None:
        self.num_failures += 1
        if self.num_failures == 1:
            logger.warning("%s failed, the run goes on: %s: %s", self.name, type(error).__name__, error)
        elif self.num_failures >= MAX_FAILURES and not self.is_off:
            self.is_off = True
            logger.warning("%s failed %d times in a row and is switched off.", self.name, self.num_failures)


def within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """Run something in a thread and return what it returns.

    Raises:
        TimeoutError: It takes longer; the thread is left alone.
    """
    outcome: list[Any] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.extend([call(), None])
        except BaseException as error:
            outcome.extend([None, error])
        finally:
            done.set()

    threading.Thread(target=work, name="mmkit-logger-start", daemon=True).start()
    if not done.wait(seconds):
        raise TimeoutError(f"it took longer than {seconds:.0f} s")
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value
