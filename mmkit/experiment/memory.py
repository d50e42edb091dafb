"""What to say when memory runs out."""

import contextlib
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mmkit.errors import MMKitError


# Messages of CPU allocators, drivers and libraries, which raise plain RuntimeErrors.
_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "Cannot allocate memory")
_ADVICE = (
    "Make dataloader.train.batch_size smaller (raise trainer.accumulate_grad_batches by the same factor to train the same), "
    "or set trainer.precision=bf16-mixed."
)


class OutOfMemoryError(MMKitError):
    """An accelerator or the machine has no memory left."""


class BatchShapes(Callback):
    """Remember the batch that is being worked on, so that an error can say how large it is.

    It is let go after its step; nothing is kept alive for longer than the loop keeps it.
    """

    def __init__(self) -> None:
        self.batch: Any = None

    def explain(self, error: BaseException) -> MMKitError | None:
        """``explain_memory`` with the current batch."""
        return explain_memory(error, self.batch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batch = batch

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        self.batch = batch

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *args: Any, **kwargs: Any) -> None:
        self.batch = batch

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.batch = None

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.batch = None

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.batch = None


def explain_memory(error: BaseException, batch: Any = None) -> MMKitError | None:
    """Make one message of an error about memory.

    Args:
        error: What was raised.
        batch: The batch that was being worked on, if there was one.

    Returns:
        The error to raise instead, ``from`` nothing; None if the error is not about memory.
    """
    if not _is_about_memory(error):
        return None
    shapes = ", ".join(f"{name} {shape}" for name, shape in _shapes(batch))
    parts = [
        f"Out of memory: {_first_sentence(error)}",
        f"Batch: {shapes}." if shapes else "No batch was being worked on.",
        f"{_accelerator_memory() or _machine_memory()}.",
        _ADVICE,
    ]
    return OutOfMemoryError(" ".join(parts))


def _is_about_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(sign in str(error) for sign in _SIGNS)


def _first_sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    text = text.partition("\n")[0].partition("Of the allocated memory")[0]  # CUDA goes on for a page
    return text.strip().rstrip(".") + "."


def _shapes(batch: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every tensor of a nested batch as ``name`` and ``dtype(shape)``."""
    if isinstance(batch, Tensor):
        yield name or "tensor", f"{str(batch.dtype).removeprefix('torch.')}{tuple(batch.shape)}"
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from _shapes(value, f"{name}.{key}" if name else str(key))
    elif isinstance(batch, Sequence) and batch and isinstance(batch[0], Tensor):
        for index, value in enumerate(batch):
            yield from _shapes(value, f"{name}[{index}]")
    elif isinstance(batch, Sequence) and name:
        yield name, f"{type(batch).__name__} of {len(batch)}"


def _accelerator_memory() -> str:
    """Memory of the accelerator in use; empty if there is none."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return ""
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return f"{name}: {_gib(allocated)} allocated, {_gib(reserved)} reserved, {_gib(free)} free of {_gib(total)}"


def _machine_memory() -> str:
    limits = {"machine": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")}
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        limits["address space (ulimit -v)"] = address_space
    with contextlib.suppress(OSError, ValueError):  # no control group, or "max"
        limits["control group"] = int(Path("/sys/fs/cgroup/memory.max").read_text())
    limit = min(limits, key=limits.__getitem__)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB
    return f"This process: {_gib(resident)} at its peak, of {_gib(limits[limit])} ({limit})"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
