"""Who works in a run's directory: one process at a time, also after crashes, and on disks that several machines share."""

import json
import logging
import os
import secrets
import threading
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mmkit.conf.run_version import launch_id
from mmkit.experiment.process import boot_id, host, namespace, start_of


LOCK = "run.lock"
HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 300.0  # a holder on another machine is dead after this long without a heartbeat
_GUARD = ".run.lock.guard"
_GUARD_SECONDS = 60.0

logger = logging.getLogger(__name__)


class HeldError(Exception):
    """Somebody else works there.

    Attributes:
        holder: Who.
    """

    def __init__(self, holder: "Holder") -> None:
        super().__init__(str(holder))
        self.holder = holder


@dataclass(frozen=True)
class Holder:
    """The process that a lock file names.

    Attributes:
        host: Name of the machine.
        pid: Process id.
        process_start: When the process started; tells it from a later one of the same id.
        boot_id: Id of the machine's last start.
        namespace: Where ``pid`` counts.
        token: Random name of this claim.
        launch: Name of the launch of several ranks that it belongs to.
        since: When it claimed.
        heartbeat: When it was last heard of.
    """

    host: str = "?"
    pid: int = 0
    process_start: int = 0
    boot_id: str = ""
    namespace: str = ""
    token: str = ""
    launch: str | None = None
    since: str = "?"
    heartbeat: str = "?"

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        pid, now = os.getpid(), timestamp()
        return cls(host(), pid, start_of(pid), boot_id(), namespace(), secrets.token_hex(8), launch_id(), now, now)

    def is_alive(self, silent_seconds: float) -> bool:
        """Whether the process still works.

        Args:
            silent_seconds: How long ago its last heartbeat is, by the file system's clock.
        """
        if self.host == host() and self.boot_id != boot_id():
            return False
        if self.host != host() or self.namespace != namespace():
            return silent_seconds < SILENT_SECONDS
        return self.process_start == start_of(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class RunLock:
    """The claim of a directory; its heartbeat goes on in the background until it is released.

    Attributes:
        holder: This process.
        previous: The dead process from which the directory was taken over.
        is_lost: Whether another process took over, because this one was not heard of for minutes.

    Args:
        folder: The directory.

    Raises:
        HeldError: Another process works in it.
        Timeout: Others have been claiming it for a minute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.holder = Holder.here()
        self.is_lost = False
        self.previous: Holder | None = None
        with _guard(folder):
            self._acquire()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="mmkit-heartbeat", daemon=True)
        self._thread.start()

    def _acquire(self) -> None:
        for left in self.folder.glob(f".{LOCK}.*"):  # by processes that were killed while they wrote
            if left.name != _GUARD:
                left.unlink(missing_ok=True)
        path, written = self.folder / LOCK, self._write(self.holder)
        try:
            if (holder := read_lock(self.folder)) is not None:
                # both times are of the file system's clock: those of two machines may differ
                silent_seconds = written.stat().st_mtime - path.stat().st_mtime
                if holder.is_alive(silent_seconds):
                    raise HeldError(holder)
                self.previous = holder
                path.unlink()
            _link(written, path)
        except FileExistsError:  # the guard does not work on this file system, but links do
            raise HeldError(read_lock(self.folder) or Holder()) from None
        finally:
            written.unlink(missing_ok=True)

    def _write(self, holder: Holder) -> Path:
        path = self.folder / f".{LOCK}.{holder.token}"
        with path.open("w") as file:
            json.dump(asdict(holder), file)
            file.flush()
            os.fsync(file.fileno())
        return path

    def is_ours(self) -> bool:
        """Whether the file still names this claim."""
        holder = read_lock(self.folder)
        return holder is not None and holder.token == self.holder.token

    def refresh(self) -> None:
        """Tell that the process lives; notice if the directory was taken over, e.g. while the machine slept."""
        with _guard(self.folder):
            if not self.is_ours():
                self.is_lost = True
                logger.error("%s: another process has taken the directory: %s.", self.folder, read_lock(self.folder))
                return
            try:
                self._write(replace(self.holder, heartbeat=timestamp())).replace(self.folder / LOCK)
            except OSError:  # the disk is full
                os.utime(self.folder / LOCK)

    def release(self) -> None:
        """Give the directory free."""
        self._released.set()
        self._thread.join(timeout=1)
        with _guard(self.folder):
            if self.is_ours():
                (self.folder / LOCK).unlink()

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS) and not self.is_lost:
            try:
                self.refresh()
            except (OSError, Timeout) as error:
                logger.debug("No heartbeat in %s: %s", self.folder, error)


def read_lock(folder: Path) -> Holder | None:
    """Who is named by the lock file; None if there is none."""
    try:
        return Holder(**json.loads((folder / LOCK).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # damaged: as good as a machine that is not heard of
        return Holder()


def timestamp() -> str:
    """The time as ``run.json`` gives it; sorts as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _guard(folder: Path) -> FileLock:
    return FileLock(folder / _GUARD, timeout=_GUARD_SECONDS)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the guard has to do
        with target.open("x") as file:
            file.write(source.read_text())
