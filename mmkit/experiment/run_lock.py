"""The lock of a run's directory: one process at a time, also when the one before was killed."""

import json
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmkit.errors import UsageError
from mmkit.experiment.process import boot_id, host, start_of


HEARTBEAT_SECONDS = 10.0
FOREIGN_SECONDS = 300.0  # a process on another machine that has not moved for so long is taken for dead


class RunLock:
    """Hold ``run.lock`` of a directory.

    It is made with its whole content at once by a hard link, which fails if there is one. It tells host, boot, process and its
    start; the time of its last change is the heartbeat. The lock of a process that is gone is taken over.

    Args:
        directory: The run's directory.

    Raises:
        UsageError: Another process holds it.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "run.lock"
        self._token = uuid.uuid4().hex
        self._acquire()
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, name="run lock heartbeat", daemon=True).start()

    def release(self) -> None:
        """Give the directory free; nothing happens if another process has it by now."""
        self._stopped.set()
        if _content(self.path).get("token") == self._token:
            self.path.unlink(missing_ok=True)

    def _acquire(self) -> None:
        whole = self.path.with_name(f".run.lock-{self._token}")
        owner = {"host": host(), "pid": os.getpid(), "process_start": start_of(os.getpid()), "boot_id": boot_id()}
        whole.write_text(json.dumps({**owner, "since": time.strftime("%Y-%m-%d %H:%M:%S"), "token": self._token}) + "\n")
        try:
            if not _linked(whole, self.path) and not self._taken_over(whole):
                raise UsageError(_refusal(self.path))
        finally:
            whole.unlink(missing_ok=True)

    def _taken_over(self, whole: Path) -> bool:
        """Replace the lock of a dead process. Only one process at a time tries, so none removes another's new lock."""
        with FileLock(self.path.with_name(".run.lock.guard")):
            now = whole.stat().st_mtime  # by the clock of the file system, which writes the heartbeats, too
            if _is_held(self.path, now):
                return False
            self.path.unlink(missing_ok=True)
            return _linked(whole, self.path)

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a full or absent disk must not end the run
                os.utime(self.path)


def _linked(whole: Path, path: Path) -> bool:
    try:
        os.link(whole, path)
    except FileExistsError:
        return False
    return True


def _is_held(path: Path, now: float) -> bool:
    try:
        heartbeat = path.stat().st_mtime
    except FileNotFoundError:
        return False
    owner = _content(path)
    if owner.get("host") != host():
        return now - heartbeat < FOREIGN_SECONDS
    return owner.get("boot_id") == boot_id() and owner.get("process_start") == start_of(owner["pid"])


def _content(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _refusal(path: Path) -> str:
    owner = _content(path)
    who = f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')}" if owner else "another process"
    return f"{path.parent} is in use by {who}. Wait for it, end it, or choose another exp_manager.version."
