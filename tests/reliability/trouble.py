"""Trouble that is planted into runs: signals at a known moment, data sets that misbehave, a disk that fills up."""

import errno
import os
import resource
import signal
import time
from contextlib import suppress
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import Dataset, get_worker_info

from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example
from mmkit.experiment.checkpoint import CheckpointNotWrittenError, DirectoryCheckpointIO


class AtBatch(Callback):
    """Do something when a batch starts.

    Args:
        batch: Index of the batch.
        stage: ``train``, or ``validation`` (the sanity check is one, too).
    """

    def __init__(self, batch: int = 0, stage: str = "train") -> None:
        self.batch, self.stage = batch, stage

    def act(self, trainer: Trainer) -> None:
        """What is done."""
        raise NotImplementedError

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.stage == "train" and batch_idx == self.batch:
            self.act(trainer)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, *args: Any) -> None:
        if self.stage == "validation" and batch_idx == self.batch:
            self.act(trainer)


class SendSignals(AtBatch):
    """Send signals to the process group, as terminals and job managers do, and wait."""

    def __init__(self, names: list[str], batch: int = 0, stage: str = "train", wait: float = 0.0) -> None:
        super().__init__(batch, stage)
        self.names, self.wait = names, wait

    def act(self, trainer: Trainer) -> None:
        for name in self.names:
            os.killpg(0, getattr(signal, name))
        time.sleep(self.wait)


class SendSignalsToSecondRank(SendSignals):
    """Only one rank gets the signals."""

    def act(self, trainer: Trainer) -> None:
        if os.environ["LOCAL_RANK"] == "1":
            super().act(trainer)


class FillDisk(AtBatch):
    """From a batch on, no file can be longer than so many bytes."""

    def __init__(self, batch: int, size: int) -> None:
        super().__init__(batch)
        self.size = size

    def act(self, trainer: Trainer) -> None:
        _wait_for_writer(trainer)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))


class FreeDisk(AtBatch):
    """From a batch on, all is well again."""

    def act(self, trainer: Trainer) -> None:
        _wait_for_writer(trainer)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class MakeReadOnly(AtBatch):
    """From a batch on, no directory can be made in this process; for tests that run as root, whom no permission stops."""

    def act(self, trainer: Trainer) -> None:
        _wait_for_writer(trainer)

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        os.mkdir = refuse


def _wait_for_writer(trainer: Trainer) -> None:
    """Let the last save end, whatever it comes to."""
    io = trainer.strategy.checkpoint_io
    assert isinstance(io, DirectoryCheckpointIO)
    with suppress(CheckpointNotWrittenError):
        io.wait()


class TakeAllMemory(AtBatch):
    """Ask the allocator for more than any machine has."""

    def act(self, trainer: Trainer) -> None:
        torch.empty(2**56, dtype=torch.uint8)


class Vectors(Dataset):
    """Vectors like those of the experiment, without random numbers.

    Args:
        size: Number of examples.
        augment: Without effect.
        bad: Index of the example with which something is wrong.
    """

    def __init__(self, size: int = 160, augment: bool = False, bad: int = -1) -> None:
        self.size, self.bad = size, bad

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Example:
        vector = torch.randn(8, generator=torch.Generator().manual_seed(index))
        if index == self.bad:
            vector = self.spoilt(vector)
        return Example({EXAMPLE_INDEX_KEY: index, "rgb": vector, "text": vector.flip(0)})

    def spoilt(self, vector: torch.Tensor) -> torch.Tensor:
        """What is read instead of the bad example."""
        return vector


class Nan(Vectors):
    """One example holds a NaN."""

    def spoilt(self, vector: torch.Tensor) -> torch.Tensor:
        return vector.index_fill(0, torch.tensor(3), torch.nan)


class Deadly(Vectors):
    """One example kills the worker that reads it."""

    def spoilt(self, vector: torch.Tensor) -> torch.Tensor:
        assert get_worker_info() is not None
        os.kill(os.getpid(), signal.SIGKILL)
        return vector


class Endless(Vectors):
    """One example takes long."""

    def __init__(self, seconds: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds

    def spoilt(self, vector: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return vector


class StoppedInPreparation(Vectors):
    """A signal comes while the data set is built, which takes long."""

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(**settings)
        os.killpg(0, getattr(signal, name))
        time.sleep(60)


def planted(callback: type[AtBatch], **settings: Any) -> list[str]:
    """Overrides that add a callback of this module to a run."""
    name = f"trainer.callbacks.{callback.__name__}"
    return [f"+{name}._target_={__name__}.{callback.__name__}", *(f"+{name}.{key}={value}" for key, value in settings.items())]


def read_from(dataset: type[Vectors], **settings: Any) -> list[str]:
    """Overrides that train on a data set of this module."""
    name = "datasets.train.vectors"
    return [f"{name}._target_={__name__}.{dataset.__name__}", *(f"++{name}.{key}={value}" for key, value in settings.items())]
