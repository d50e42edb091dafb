"""How Lightning saves and loads: in the background, into directories that can be trusted."""

import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from mmkit.errors import MMKitError, RefusedError, UsageError
from mmkit.experiment.checkpoint.contents import describe, read_checkpoint, reason_of, step_of, write_checkpoint
from mmkit.experiment.checkpoint.generations import Retention, next_generation, prune
from mmkit.experiment.checkpoint.manifest import step_in_name
from mmkit.experiment.checkpoint.placing import LATEST, latest_name, remove, take_away
from mmkit.experiment.checkpoint.snapshot import Snapshots
from mmkit.experiment.checkpoint.storable import check_storable, without_unstorable_hyper_parameters


logger = logging.getLogger(__name__)


class CheckpointNotWrittenError(MMKitError):
    """The disk is full, read-only, … What was saved before is as it was.

    Attributes:
        path: The checkpoint that is not there.
        needed: Bytes that it takes.
        free: Bytes that are free where it should go; None if that cannot be found out.
    """

    def __init__(self, path: Path, reason: OSError, needed: int) -> None:
        self.path, self.needed, self.free = path, needed, _free_bytes(path.parent)
        latest = latest_name(path.parent)
        symbol = errno.errorcode.get(reason.errno or 0, "OSError")
        super().__init__(
            f"The checkpoint {path} was not written: {reason.strerror or reason} ({symbol}). It takes {needed:,} bytes; "
            f"{'unknown' if self.free is None else format(self.free, ',')} are free there. "
            + (f"The last one that was saved is {path.parent / latest}." if latest else "None was saved before.")
        )


class DirectoryCheckpointIO(CheckpointIO):
    """Save a checkpoint as a directory with digests, durably, and verify it before it is loaded.

    Only a copy into host memory holds up the training; a thread writes. A second save waits for the first. If the process is
    killed meanwhile, that save is lost and no other. A save that fails is told at once in the log and raised by :meth:`wait`;
    training may go on, and the next save tries anew.

    Args:
        config_yaml: Text of the configuration, kept with every checkpoint; secrets are to be removed before.
        asynchronous: Whether to write in the background.
        retention: Which checkpoints to keep; None keeps all.

    Attributes:
        last_error: Why the last save failed; None if it did not.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> Trainer(plugins=[DirectoryCheckpointIO()], logger=False).strategy.checkpoint_io.last_error
    """

    def __init__(self, config_yaml: str | None = None, asynchronous: bool = True, retention: Retention | None = None) -> None:
        self.config_yaml, self.asynchronous, self.retention = config_yaml, asynchronous, retention
        self.last_error: Exception | None = None
        self._is_raised = True
        self._only_checks = False
        self._writer: threading.Thread | None = None
        self._snapshots = Snapshots()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        """Save what Lightning dumped.

        Args:
            checkpoint: The dictionary; its ``"mmkit_state"`` becomes ``state.json`` (tuples come back as lists).
            path: Directory to make, or to replace when the new one is complete.
            storage_options: Not used.

        Raises:
            UsageError: Something in it cannot be stored so that loading it is safe, or the path has the name of another step;
                nothing is written.
            CheckpointNotWrittenError: It could not be written, and ``asynchronous`` is off.
        """
        path = _local(path)
        check_storable(checkpoint)
        _check_name(path, step_of(checkpoint))
        if self._only_checks:
            return
        self._join()
        checkpoint = without_unstorable_hyper_parameters(checkpoint)
        snapshot = self._snapshots.take(checkpoint, share_host_memory=not self.asynchronous)
        if not self.asynchronous:
            self._write(snapshot, path)
            self._raise()
            return
        self._writer = threading.Thread(target=self._write, args=(snapshot, path), name="checkpoint writer")
        self._writer.start()

    @contextmanager
    def only_checking(self) -> Iterator[None]:
        """Let saves say what could not be stored, and write nothing: a mistake is told before the first step."""
        self._only_checks = True
        try:
            yield
        finally:
            self._only_checks = False

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        self.last_error = None
        try:
            mode = self.retention.mode if self.retention else None
            write_checkpoint(checkpoint, path, describe(checkpoint, mode, next_generation(path.parent)), self.config_yaml)
            if self.retention:
                prune(path.parent, self.retention)
        except OSError as error:
            self._fail(CheckpointNotWrittenError(path, error, _num_bytes(checkpoint, set())))
        except Exception as error:  # raised by wait(); in a thread nobody else would see it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        logger.error("%s", error, exc_info=None if isinstance(error, MMKitError) else error)
        self.last_error, self._is_raised = error, False

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Verify a checkpoint and read it; files that Lightning wrote are read, too.

        Args:
            path: A checkpoint's directory, or a ``.ckpt`` file.
            map_location: Device for the tensors; the host by default. A function is not asked, as all lie in host memory.
            weights_only: Without effect: never is anything read that could execute code.

        Raises:
            RefusedError: It is damaged, foreign, of a later format, or holds objects.
        """
        self._join()
        path = _local(path)
        if path.is_dir():
            return read_checkpoint(path, _device(map_location))
        if not path.exists():
            raise RefusedError(f"{path}: there is no such checkpoint")
        return _read_file(path, "cpu" if map_location is None else map_location)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a checkpoint, also the one that ``LATEST`` names."""
        self._join()
        path = _local(path)
        if not os.path.lexists(path):
            return
        if latest_name(path.parent) == path.name:
            remove(path.parent / LATEST)
        take_away(path)

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            CheckpointNotWrittenError: The last save failed. It is raised once; ``last_error`` stays.
        """
        self._join()
        self._raise()

    def teardown(self) -> None:
        """Wait, and give the memory for copies back."""
        self._join()
        self._snapshots.release()
        self._raise()

    def _join(self) -> None:
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def _raise(self) -> None:
        if self.last_error is not None and not self._is_raised:
            self._is_raised = True
            raise self.last_error


def _local(path: str | os.PathLike[str]) -> Path:
    if "://" in os.fspath(path):
        raise UsageError(
            f"{path}: checkpoints lie in local directories, where a rename is atomic; copy them elsewhere afterwards."
        )
    return Path(path).absolute()  # the current directory may change before it is written


def _check_name(path: Path, step: int) -> None:
    if step_in_name(path.name) not in (None, step):
        raise UsageError(f"{path}: the checkpoint is of step {step}; call it step-{step:06d}, or something without a number.")


def _device(map_location: Any) -> torch.device | str:
    if isinstance(map_location, dict):
        return map_location.get("cpu", "cpu")
    return "cpu" if map_location is None or callable(map_location) else map_location


def _read_file(path: Path, map_location: Any) -> dict[str, Any]:
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # damaged bytes can mean anything
        raise RefusedError(f"{path}: it is damaged, no checkpoint, or holds objects that run code: {reason_of(error)}") from None
    if not isinstance(checkpoint, dict):
        raise RefusedError(f"{path}: it holds a {type(checkpoint).__name__}, not a checkpoint")
    return checkpoint


def _num_bytes(value: Any, counted: set[int]) -> int:
    if isinstance(value, Tensor):
        known, _ = value.data_ptr() in counted, counted.add(value.data_ptr())
        return 0 if known else value.nbytes
    if isinstance(value, dict):
        return sum(_num_bytes(entry, counted) for entry in value.values())
    return sum(_num_bytes(entry, counted) for entry in value) if isinstance(value, list | tuple) else 0


def _free_bytes(directory: Path) -> int | None:
    while not directory.exists():
        directory = directory.parent
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
