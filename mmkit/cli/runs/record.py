"""A run as its directory tells of it: read from JSON files alone, whatever else is missing or damaged."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mmkit.conf.run_version import CHECKPOINTS, RECORD
from mmkit.experiment.checkpoint import CheckpointInfo, list_checkpoints
from mmkit.experiment.run_lock import LOCK, Holder, read_lock


# A run is "killed" whose record says that it runs, while the process that claimed its directory is gone.
STATES = ("running", "finished", "failed", "stopped", "killed")
_NO_METRICS = frozenset({"step", "epoch", "time"})
_TAIL = 1 << 16
# What is written in records as a list or as an object; anything else there says nothing.
_KINDS: dict[str, type] = dict.fromkeys(("attempts", "overrides", "import_roots", "command", "accelerators", "untracked"), list)
_KINDS |= dict.fromkeys(("environment", "code", "data", "packages"), dict)


@dataclass(frozen=True)
class Run:
    """The directory of a run.

    Attributes:
        path: The directory.
        record: What its ``run.json`` says.
    """

    path: Path
    record: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Run | None":
        """The run in a directory; None if there is none, or nothing can be read of it."""
        record = _read_record(path / RECORD)
        return cls(path, record) if "status" in record else None

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """What ``run.json`` says of each time that the run was started, the first time first."""
        return [_mended(each) for each in self.record.get("attempts", []) if isinstance(each, dict)]

    @cached_property
    def origin(self) -> dict[str, Any]:
        """Where it comes from, as its ``provenance.json`` says."""
        origin = _read_record(self.path / "provenance.json")
        for split, entries in origin.get("data", {}).items():
            known = entries.items() if isinstance(entries, dict) else ()
            origin["data"][split] = {name: each for name, each in known if isinstance(each, dict)}
        for name, state in origin.get("code", {}).items():
            origin["code"][name] = _mended(state) if isinstance(state, dict) else state
        return origin

    @property
    def job_type(self) -> str:
        return str(self.record.get("job_type", "train"))

    @cached_property
    def holder(self) -> Holder | None:
        """The living process that works in the directory."""
        holder = read_lock(self.path)
        if holder is None:
            return None
        try:
            silent_seconds = time.time() - (self.path / LOCK).stat().st_mtime
        except OSError:
            return None
        return holder if holder.is_alive(silent_seconds) else None

    @cached_property
    def state(self) -> str:
        """One of ``STATES``."""
        status = str(self.record["status"])
        if status == "running":
            return "running" if self.holder else "killed"
        return status

    @property
    def is_resumable(self) -> bool:
        """Whether ``mmkit runs resume`` can go on with it."""
        return self.job_type == "train" and self.state in ("failed", "stopped", "killed") and bool(self.checkpoints)

    @cached_property
    def checkpoints(self) -> list[CheckpointInfo]:
        """Its checkpoints, the last saved first."""
        return list_checkpoints(self.path / CHECKPOINTS)

    @property
    def best(self) -> CheckpointInfo | None:
        """The intact checkpoint with the best score of the metric that was monitored last."""
        good = [info for info in self.checkpoints if info.score is not None and info.problem is None]
        comparable = [info for info in good if info.monitor == good[0].monitor]
        sign = -1 if good and good[0].mode == "max" else 1
        return min(comparable, key=lambda info: sign * (info.score or 0), default=None)

    @property
    def started(self) -> float | None:
        """When it was started first, in seconds since 1970."""
        return seconds_of(self.attempts[0].get("start")) if self.attempts else None

    @property
    def duration(self) -> float | None:
        """Seconds that all attempts took together, as far as that is known."""
        spans = [(seconds_of(each.get("start")), self._end(each)) for each in self.attempts]
        known = [end - start for start, end in spans if start is not None and end is not None]
        return sum(known) if known else None

    def _end(self, attempt: dict[str, Any]) -> float | None:
        if "end" in attempt:
            return seconds_of(attempt["end"])
        if self.holder:
            return time.time()
        lock = read_lock(self.path)
        return seconds_of(lock.heartbeat) if lock else None

    @cached_property
    def last_lines(self) -> list[dict[str, Any]]:
        """The end of ``metrics.jsonl``, enough to tell how far the run is."""
        try:
            with (self.path / "metrics.jsonl").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                raw = file.read()
        except OSError:
            return []
        return list(_parsed(raw.split(b"\n")))

    def last_metrics(self) -> dict[str, Any]:
        """The last value of every metric, from the whole of ``metrics.jsonl``."""
        try:
            with (self.path / "metrics.jsonl").open("rb") as file:
                return dict(sorted(_last_values(_parsed(file)).items()))
        except OSError:
            return {}

    @property
    def step(self) -> int | None:
        """Optimizer steps made, as far as metrics and checkpoints tell."""
        steps = [line.get("step") for line in self.last_lines] + [info.step for info in self.checkpoints]
        return max((step for step in steps if isinstance(step, int)), default=None)

    @property
    def epoch(self) -> int | None:
        """Epochs begun; of what is logged, validation tells."""
        logged = [line["epoch"] + 1 for line in self.last_lines if isinstance(line.get("epoch"), int)]
        saved = [info.epoch for info in self.checkpoints if info.epoch is not None]
        return max([*logged, *saved], default=None)

    @property
    def main_metric(self) -> tuple[str, float] | None:
        """The best value of the monitored metric; without one, the last value of the metric that says most."""
        best = self.best
        if best is not None:
            return str(best.monitor), float(best.score or 0)
        values = {name: value for name, value in _last_values(self.last_lines).items() if isinstance(value, int | float)}
        return min(values.items(), key=lambda item: _importance(item[0]), default=None)


def _read_record(path: Path) -> dict[str, Any]:
    """The object in a file, without what is not of the type that is written there; empty if there is none, or it is damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return _mended(content) if isinstance(content, dict) else {}


def _mended(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if isinstance(value, _KINDS.get(key, object))}


def seconds_of(timestamp: Any) -> float | None:
    """Seconds since 1970 for a time as ``run.json`` gives it; None if it is none."""
    try:
        moment = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _parsed(lines: Any) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            content = json.loads(line)
        except ValueError:  # half a line: the first of a tail, or the last while it is written
            continue
        if isinstance(content, dict):
            yield content


def _last_values(lines: Any) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for line in lines:
        last.update(line)
    return {name: value for name, value in last.items() if name not in _NO_METRICS}


def _importance(name: str) -> tuple[int, int, str]:
    """What is tested says more than what is validated or trained; a stage's loss stands for it, timing for nothing."""
    stage, _, metric = name.partition("/")
    order = {"test": 0, "val": 1, "train": 2}.get(stage, 3)
    timing = metric.endswith(("_ms", "_per_s"))
    return order + 4 * timing, metric != "loss", name
