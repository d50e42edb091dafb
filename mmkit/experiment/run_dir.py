"""A run's directory: claimed by one process, shared by the ranks of that run, with a record of everything tried in it."""

import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import Timeout

from mmkit.conf.run_version import CHECKPOINTS, RECORD, launch_id
from mmkit.errors import MMKitError, UsageError
from mmkit.experiment.ranks import rank_name
from mmkit.experiment.redaction import redact_text, secrets_of
from mmkit.experiment.run_lock import HeldError, RunLock, read_lock, timestamp


JOIN_SECONDS = 300.0
_CHOICES = "choose another exp_manager.version or exp_manager.explicit_log_dir"

logger = logging.getLogger(__name__)


class RunDir:
    """A directory that this process may write to; get one from ``claim`` or ``join``.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: Path, lock: RunLock | None) -> None:
        self.path, self._lock, self._pid = path, lock, os.getpid()
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
        try:
            lock = RunLock(path)
        except HeldError as error:
            raise UsageError(f"{path} is in use by {error.holder}. Wait for it or end it, or {_CHOICES}.") from None
        except Timeout:
            raise UsageError(f"{path} has been claimed by other processes for a minute. Try again, or {_CHOICES}.") from None
        run_dir = cls(path, lock)
        try:
            run_dir._begin(lock, resume, facts)
        except BaseException:
            lock.release()
            raise
        return run_dir

    @classmethod
    def join(cls, path: Path, patience: float = JOIN_SECONDS) -> "RunDir":
        """Use the directory that the first rank has claimed, or claims soon.

        Args:
            path: The directory.
            patience: How long to wait, in seconds.

        Raises:
            MMKitError: It does not.
        """
        began, told = time.monotonic(), False
        while not _is_claimed_for_us(path):
            waited = time.monotonic() - began
            if waited > patience:
                raise MMKitError(f"{rank_name()}: the first rank has not claimed {path} in {patience:.0f} s. Its log says why.")
            if waited > min(10.0, patience / 2) and not told:
                logger.warning("%s: waiting for the first rank to claim %s, at most %.0f s.", rank_name(), path, patience)
                told = True
            time.sleep(0.05)
        return cls(path, None)

    @property
    def is_ours(self) -> bool:
        """False if another process took over, because this one was not heard of for minutes: better write nothing more."""
        return self._lock is None or not self._lock.is_lost

    def tell(self, **facts: Any) -> None:
        """Add facts to ``run.json``; only the rank that claimed the directory writes."""
        if self._lock is not None and self.is_ours and self._pid == os.getpid():
            _write(self.path / RECORD, {**read_record(self.path), **facts})

    def open_log(self) -> None:
        """Write what this rank logs to ``logs/rank-N.log``, too, without secrets."""
        folder = self.path / "logs"
        folder.mkdir(exist_ok=True)
        self._log = _QuietFileHandler(folder / f"{rank_name()}.log", encoding="utf-8")
        self._log.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self._log)

    def finish(self, status: str, **facts: Any) -> None:
        """Write down how the attempt ended, and give the directory free. Nothing happens in a forked process.

        Args:
            status: ``finished``, ``stopped`` or ``failed``.
            facts: What else to tell of the attempt.
        """
        if self._pid != os.getpid():
            return
        if self._lock is not None:
            attempts = read_record(self.path).get("attempts", [{}])
            ended = [*attempts[:-1], {**attempts[-1], "end": timestamp(), "status": status, **facts}]
            for step in (lambda: self.tell(status=status, attempts=ended), self._lock.release):
                try:
                    step()
                except (OSError, Timeout) as error:  # hides no error that ended the run
                    logger.warning("%s: the end of the run could not be written down: %s", self.path, error)
            self._lock = None
        if self._log is not None:
            logging.getLogger().removeHandler(self._log)
            self._log.close()
            self._log = None

    def _begin(self, lock: RunLock, resume: bool, facts: dict[str, Any]) -> None:
        record = read_record(self.path)
        if record and not resume:
            status = "killed" if record.get("status") == "running" else record.get("status")
            raise UsageError(
                f"{self.path} already holds a run ({status}). Go on with it (mmkit runs resume {self.path}), or {_CHOICES}."
            )
        if not record and not resume and any((self.path / CHECKPOINTS).glob("*")):
            raise UsageError(f"{self.path} holds checkpoints of another origin. Move them away, or {_CHOICES}.")
        attempts = record.get("attempts", [])
        if attempts and "end" not in attempts[-1]:
            last = lock.previous.heartbeat if lock.previous else None
            attempts[-1] = {**attempts[-1], "end": last, "status": "killed"}
        attempt = {"start": lock.holder.since, "host": lock.holder.host, "pid": lock.holder.pid, **facts}
        self.tell(name=self.path.parent.name, version=self.path.name, status="running", attempts=[*attempts, attempt])


def read_record(path: Path) -> dict[str, Any]:
    """What ``run.json`` of a directory tells; empty if there is none."""
    try:
        return json.loads((path / RECORD).read_text())
    except FileNotFoundError:
        return {}


def _is_claimed_for_us(path: Path) -> bool:
    holder = read_lock(path)
    if holder is None or not (path / RECORD).is_file() or not holder.is_alive(silent_seconds=0):
        return False
    return holder.launch is None or launch_id() is None or holder.launch == launch_id()


def _write(path: Path, record: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.write(json.dumps(record, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class _RedactingFormatter(logging.Formatter):
    def __init__(self, layout: str) -> None:
        super().__init__(layout)
        self._secrets = secrets_of()

    def format(self, record: logging.LogRecord) -> str:
        return redact_text(super().format(record), self._secrets)


class _QuietFileHandler(logging.FileHandler):
    """A full disk is told once, and stops nothing."""

    has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not self.has_failed:
            self.has_failed = True
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):  # what is left to write does not fit, either
            super().close()
