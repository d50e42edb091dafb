"""``metrics.jsonl``: every logged value, one JSON object a line, whatever other loggers do."""

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


logger = logging.getLogger(__name__)


class MetricsFile(Logger):
    """Append metrics to a file as they come.

    A line has ``step``, ``time`` (seconds since 1970) and the values by name; what is not finite is written as a string, for
    JSON has no NaN. A disk that is full costs lines, not the run.

    Args:
        path: The file; it is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._has_failed = False

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: they are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        line = {"step": step, "time": round(time.time(), 3), **{name: _plain(value) for name, value in metrics.items()}}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            if not self._has_failed:
                logger.warning("%s cannot be written (%s); the run goes on without its lines.", self.path, error.strerror)
            self._has_failed = True

    def offset(self) -> int:
        """Size of the file in bytes; where a checkpoint notes that the file ended."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @rank_zero_only
    def truncate(self, offset: int) -> None:
        """Forget what was logged after a checkpoint: a resumed run logs it again."""
        if self.offset() > offset:
            os.truncate(self.path, offset)


def _plain(value: Any) -> Any:
    number = float(value)
    return number if math.isfinite(number) else str(number)
