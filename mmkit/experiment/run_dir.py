"""A run's directory: claimed by one process, with a record of everything that was tried in it."""

import json
import logging
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from mmkit.conf.run_version import RECORD
from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.process import host
from mmkit.experiment.ranks import rank_name
from mmkit.experiment.run_lock import RunLock


JOIN_SECONDS = 120.0


class RunDir:
    """A directory that this process may write to; get one from ``claim`` or ``join``.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: Path, lock: RunLock | None) -> None:
        self.path, self._lock = path, lock
        self._log: logging.Handler | None = None

    @classmethod
    def claim(cls, path: Path, resume: bool = False, **facts: Any) -> "RunDir":
        """Take a directory for a run, or for going on with the one that is in it.

        Args:
            path: The directory; it is made if it is not there.
            resume: Go on with the run that is there.
            facts: What ``run.json`` is to tell of this attempt.

        Raises:
            UsageError: Another process is running there; or it holds a run, and ``resume`` is false.
        """
        path.mkdir(parents=True, exist_ok=True)
        lock = RunLock(path)
        record = read_record(path)
        if record and not resume:
            lock.release()
            raise UsageError(
                f"{path} holds a run already ({record.get('status')}). Go on with it (mmkit runs resume {path}), or choose "
                "another exp_manager.version."
            )
        run_dir = cls(path, lock)
        attempt = {"start": _now(), "host": host(), "pid": os.getpid(), **facts}
        attempts = [*record.get("attempts", []), attempt]
        run_dir.tell(name=path.parent.name, version=path.name, status="running", attempts=attempts)
        return run_dir

    @classmethod
    def join(cls, path: Path) -> "RunDir":
        """Use the directory that the first rank has claimed, or claims soon.

        Raises:
            RefusedError: It does not.
        """
        deadline = time.monotonic() + JOIN_SECONDS
        while not (path / "run.lock").exists() or not (path / RECORD).exists():
            if time.monotonic() > deadline:
                raise RefusedError(f"{path}: the first rank has not claimed it within {JOIN_SECONDS:.0f} s. Its log says why.")
            time.sleep(0.05)
        return cls(path, None)

    def tell(self, **facts: Any) -> None:
        """Add facts to ``run.json``; only the rank that claimed the directory writes."""
        if self._lock is not None:
            _write(self.path / RECORD, {**read_record(self.path), **facts})

    def open_log(self) -> None:
        """Write what this rank logs to ``logs/rank-N.log``, too."""
        folder = self.path / "logs"
        folder.mkdir(exist_ok=True)
        self._log = logging.FileHandler(folder / f"{rank_name()}.log")
        self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self._log)

    def finish(self, status: str, **facts: Any) -> None:
        """Write down how the attempt ended, and give the directory free.

        Args:
            status: ``finished``, ``stopped`` or ``failed``.
            facts: What else to tell of the attempt.
        """
        if self._log is not None:
            logging.getLogger().removeHandler(self._log)
            self._log.close()
        if self._lock is None:
            return
        attempts = read_record(self.path).get("attempts", [{}])
        try:
            self.tell(status=status, attempts=[*attempts[:-1], {**attempts[-1], "end": _now(), "status": status, **facts}])
        finally:
            self._lock.release()


def read_record(path: Path) -> dict[str, Any]:
    """What ``run.json`` of a directory tells; empty if there is none."""
    try:
        return json.loads((path / RECORD).read_text())
    except FileNotFoundError:
        return {}


def _write(path: Path, record: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=2) + "\n")
    temporary.replace(path)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
