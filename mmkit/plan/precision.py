"""The numeric precision of a run, as ``trainer.precision`` names it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


MIXED = {"16-mixed": torch.float16, "16": torch.float16, "bf16-mixed": torch.bfloat16, "bf16": torch.bfloat16}
TRUE = {"16-true": torch.float16, "bf16-true": torch.bfloat16, "64-true": torch.float64, "64": torch.float64}
DEFAULT = ("32-true", "32", "None")


def is_known(precision: Any) -> bool:
    """Whether a plan can follow it."""
    return str(precision) in (*MIXED, *TRUE, *DEFAULT)


def autocast(precision: Any) -> AbstractContextManager[Any]:
    """Context of the forward pass."""
    dtype = MIXED.get(str(precision))
    return nullcontext() if dtype is None else torch.autocast("cpu", dtype)


def dtype_of(precision: Any) -> torch.dtype | None:
    """The type of all parameters and of floating-point inputs; None for that which they have."""
    return TRUE.get(str(precision))


def converted(batch: dict[str, Any], precision: Any) -> dict[str, Any]:
    """A batch with its floating-point tensors in that type."""
    dtype = dtype_of(precision)
    if dtype is None:
        return batch
    return {k: v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in batch.items()}
