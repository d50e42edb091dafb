"""Checkpoints that can be trusted: directories with digests, written at once, verified before they are read.

What only looks at files is imported without torch; ``DirectoryCheckpointIO`` and ``check_storable`` load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmkit.experiment.checkpoint.generations import CheckpointInfo, Retention, best, list_checkpoints, newest_good
from mmkit.experiment.checkpoint.verification import verify


if TYPE_CHECKING:
    from mmkit.experiment.checkpoint.io import CheckpointNotWrittenError, DirectoryCheckpointIO
    from mmkit.experiment.checkpoint.storable import check_storable

_HOME = {"CheckpointNotWrittenError": "io", "DirectoryCheckpointIO": "io", "check_storable": "storable"}

__all__ = [
    "CheckpointInfo",
    "CheckpointNotWrittenError",
    "DirectoryCheckpointIO",
    "Retention",
    "best",
    "check_storable",
    "list_checkpoints",
    "newest_good",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. It offers: {', '.join(__all__)}.")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
