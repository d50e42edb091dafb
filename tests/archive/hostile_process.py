"""Tries every hostile file under an audit hook and prints what it saw as JSON; started by test_hostile.py."""

import codecs
import contextlib
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())

from mmkit.archive.registry import registered_objects
from mmkit.errors import RefusedError
from mmkit.tasks.base import TrainingTask
from tests.archive.crafting import archive
from tests.archive.hostile import hostile_files


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "shutil.rmtree"}
STARTS = {"os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "ctypes.dlopen"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request", "webbrowser.open"}
CODE = {"pickle.find_class", "marshal.loads", "exec", "compile", "import"}


class Recorder:
    """An audit hook that notes what is done while it is on, but for files in the sandbox."""

    def __init__(self, sandbox: str) -> None:
        self.sandbox, self.events, self.on = sandbox, [], False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and (flags or 0) & WRITING and not os.fsdecode(path).startswith(self.sandbox):
                self.events.append(f"open {path!r}")
        elif event in CHANGES:
            is_within_rmtree = event in ("os.remove", "os.rmdir") and arguments[1] >= 0  # names relative to an open folder
            if not is_within_rmtree and not str(arguments[0]).startswith(self.sandbox):
                self.events.append(f"{event} {arguments}")
        elif event in STARTS | CONNECTS | CODE:
            self.events.append(f"{event} {str(arguments)[:200]}")

    def notices(self) -> int:
        """How many of five harmless deeds it sees: it would be no proof if it saw nothing."""
        before, self.on = len(self.events), True
        open(os.devnull, "wb").close()
        with contextlib.suppress(ImportError):
            __import__("no_such_module")
        with contextlib.suppress(OSError):
            os.remove("/nonexistent/file")
        os.system("true")
        compile("1", "x", "eval")
        self.on = False
        found = len(self.events) - before
        del self.events[before:]
        return found


def main(sandbox: str) -> None:
    """Try all files, each under the same name in the sandbox."""
    files = hostile_files()
    path = Path(sandbox, "hostile.mmkit")
    path.write_bytes(archive())
    registered_objects()
    TrainingTask.restore_from(path)  # what a good file imports has been imported
    for encoding in ("cp437", "raw_unicode_escape", "unicode_escape", "utf-16"):  # a module each, for zipfile and pickletools
        codecs.lookup(encoding)
    recorder, modules, refused = Recorder(sandbox), set(sys.modules), 0
    for hostile in files:
        path.write_bytes(hostile.data)
        recorder.on = True
        try:
            TrainingTask.restore_from(path)
        except RefusedError:
            refused += 1
        except Exception as error:
            recorder.events.append(f"{hostile.name}: {error!r}")
        finally:
            recorder.on = False
    path.unlink()
    gc.collect()
    result = {"tried": len(files), "refused": refused, "events": recorder.events, "left": sorted(os.listdir(sandbox))}
    print(json.dumps({**result, "imported": sorted(set(sys.modules) - modules), "noticed": recorder.notices()}))


if __name__ == "__main__":
    main(sys.argv[1])
