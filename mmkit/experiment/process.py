"""Which process this is, so that another one can tell whether it still lives."""

import os
import socket
from pathlib import Path


def host() -> str:
    """Name of this machine."""
    return socket.gethostname()


def boot_id() -> str:
    """Names the present boot of this machine; ``"unknown"`` where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def namespace() -> str:
    """Where the numbers of processes count: two containers can share the name of a machine."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "unknown"


def start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot, so that a reused number is not taken for it; -1 if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _exists(pid) if not Path("/proc/self").exists() else -1
    state, *fields = text[text.rindex(")") + 2 :].split()
    return -1 if state in "ZX" else int(fields[18])


def _exists(pid: int) -> int:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except PermissionError:
        pass
    return 0
