"""``metrics.jsonl``: every logged value, one JSON object a line, whatever other loggers do."""

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


_BLOCK = 1 << 16

logger = logging.getLogger(__name__)


class MetricsFile(Logger):
    """Append metrics to a file as they come.

    A line has ``step``, ``time`` (seconds since 1970) and the values by name; what is not finite is written as ``"nan"``,
    ``"inf"`` or ``"-inf"``, for JSON has no NaN. A disk that is full costs lines, not the run.

    Args:
        path: The file; it is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._num_lost = 0

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: they are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        line = {"step": step, "time": round(time.time(), 3), **{name: _plain(value) for name, value in metrics.items()}}
        try:
            self._append(f"{json.dumps(line)}\n".encode())
        except OSError as error:
            self._num_lost += 1
            if self._num_lost == 1:
                logger.warning("%s cannot be written (%s); the run goes on without its lines.", self.path, error.strerror)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._num_lost:
            logger.warning("%s: %d lines could not be written.", self.path, self._num_lost)
            self._num_lost = 0

    def _append(self, line: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            written = 0
            try:
                written = file.write(line)
            finally:
                if written != len(line):  # the disk became full in the middle: no half a line before the next one
                    file.truncate(size)
            if written != len(line):
                raise OSError(None, "No space left on device")

    def offset(self) -> int:
        """Size of the file in bytes; where a checkpoint notes that the file ended."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @rank_zero_only
    def truncate(self, offset: int) -> None:
        """Forget what was logged after a checkpoint, because a resumed run logs it again; and half a line at the end."""
        try:
            with self.path.open("rb+") as file:
                file.truncate(_end_of_last_line(file, min(offset, self.offset())))
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("%s cannot be shortened (%s); steps may be in it twice.", self.path, error.strerror)


def _end_of_last_line(file: Any, end: int) -> int:
    """The position after the last line break before ``end``."""
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # a text, or a tensor of several values
        return str(value)
    return number if math.isfinite(number) else str(number)
