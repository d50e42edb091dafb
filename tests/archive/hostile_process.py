"""Tries every hostile file under an audit hook and prints what it saw as JSON; started by test_hostile.py."""

import codecs
import contextlib
import gc
import json
import os
import sys
from pathlib import Path


sys.path.insert(0, os.getcwd())

from mmkit.archive.registry import registered_objects
from mmkit.errors import RefusedError
from mmkit.tasks.base import TrainingTask
from tests.archive.hostile import archive, hostile_files


SANDBOX = sys.argv[1]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "shutil.rmtree"}
STARTS = {"os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "ctypes.dlopen"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request", "webbrowser.open"}
CODE = {"pickle.find_class", "marshal.loads", "exec", "compile", "import"}

events: list[str] = []
recording = False


def hook(event: str, arguments: tuple) -> None:
    if not recording:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes) and (flags or 0) & WRITING and not os.fsdecode(path).startswith(SANDBOX):
            events.append(f"open {path!r}")
    elif event in CHANGES:
        is_within_rmtree = event in ("os.remove", "os.rmdir") and arguments[1] >= 0  # names relative to an open folder
        if not is_within_rmtree and not str(arguments[0]).startswith(SANDBOX):
            events.append(f"{event} {arguments}")
    elif event in STARTS | CONNECTS | CODE:
        events.append(f"{event} {str(arguments)[:200]}")


def _noticed() -> int:
    """How many of five harmless deeds the hook sees: it would be no proof if it saw nothing."""
    global recording
    before, recording = len(events), True
    open(os.devnull, "wb").close()
    with contextlib.suppress(ImportError):
        __import__("no_such_module")
    with contextlib.suppress(OSError):
        os.remove("/nonexistent/file")
    os.system("true")
    compile("1", "x", "eval")
    recording = False
    found = len(events) - before
    del events[before:]
    return found


files = hostile_files()
path = Path(SANDBOX, "hostile.mmkit")
path.write_bytes(archive())
registered_objects()
TrainingTask.restore_from(path)  # what a good file imports has been imported
for encoding in ("cp437", "raw_unicode_escape", "unicode_escape", "utf-16"):  # a module each; zipfile and pickletools use them
    codecs.lookup(encoding)
sys.addaudithook(hook)
modules = set(sys.modules)
refused = 0
for hostile in files:
    path.write_bytes(hostile.data)
    recording = True
    try:
        TrainingTask.restore_from(path)
    except RefusedError:
        refused += 1
    except Exception as error:
        events.append(f"{hostile.name}: {error!r}")
    finally:
        recording = False
path.unlink()
gc.collect()
imported = sorted(set(sys.modules) - modules)
noticed = _noticed()
result = {"tried": len(files), "refused": refused, "events": events, "left": sorted(os.listdir(SANDBOX)), "noticed": noticed}
print(json.dumps({**result, "imported": imported}))
