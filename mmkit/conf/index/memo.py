"""What was read from source, kept in the user's cache directory for as long as the source stays as it is.

A memo is a JSON file that is replaced as a whole, so that any number of processes may read and write at once; whoever comes
last wins, with the same content. It counts only while its sources are as they were (:mod:`mmkit.conf.index.stamps`). What is
damaged, of another version or not as expected is read anew, and nobody is told. Where nothing can be written, nothing is.
``MMKIT_INDEX=off`` turns memos off.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import mmkit
from mmkit.conf.index.coding import Broken
from mmkit.conf.index.stamps import place_of, stamps_of, unchanged


Result = TypeVar("Result")

_FORMAT = 1
_MAX_FILES = 4096  # about 20 MB
_MAX_BYTES = 4_000_000  # of one memo; the largest has 50 kB
_MAX_AGE = 30 * 86400.0  # seconds since it was written or last noted to be used
_NOTED_AFTER = 86400.0  # seconds after which a use is noted in the time stamp


def remembered(
    kind: str,
    name: str,
    read: Callable[[], Result],
    encode: Callable[[Result], Any],
    decode: Callable[[Any, tuple[Path, ...]], Result],
    conditional: Callable[[Result], tuple[str, ...]] = lambda result: (),
) -> Result:
    """What ``read`` returns, from the memo if that still holds.

    Args:
        kind: What it is, e.g. ``signature``.
        name: Dotted name that it is about.
        read: Reads it from source.
        encode: Turns it into JSON.
        decode: Turns it back, given the files that were read; raises Broken for anything else.
        conditional: Packages whose absence or presence it depends on, besides the files that were read.
    """
    path, key = _path_and_key(kind, name)
    if path is None:
        return read()
    with suppress(Broken, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        memo = _load(path)
        if memo["key"] == key and unchanged(memo["stamps"]):
            return decode(memo["data"], tuple(Path(each[0]) for each in memo["stamps"]["files"]))
    from mmkit.conf.reading.modules import recording  # only for those who read

    started = time.time_ns()
    with recording() as sources:
        result = read()
    stamps = stamps_of(sources, conditional(result), started)
    if stamps is not None:
        with suppress(OSError):
            _save(path, {"key": key, "stamps": stamps, "data": encode(result)})
    return result


def memo_folder() -> Path | None:
    """Where memos are; None if they are turned off."""
    if os.environ.get("MMKIT_INDEX", "").lower() in ("off", "0", "false", "no"):
        return None
    return _cache_path() / "index"


def _cache_path() -> Path:
    if sys.platform == "linux":  # as platformdirs, whose import takes a tenth of a preview
        given = os.environ.get("XDG_CACHE_HOME", "").strip()
        return Path(given or os.path.expanduser("~/.cache")) / "mmkit"
    from platformdirs import user_cache_path

    return user_cache_path("mmkit")


def _path_and_key(kind: str, name: str) -> tuple[Path | None, list[Any]]:
    folder = memo_folder()
    if folder is None:
        return None, []
    place = place_of(name.partition(".")[0])
    key = [_FORMAT, kind, name, place, mmkit.__version__, sys.version, _own_code()]
    return folder / f"{kind}-{name[-100:]}-{zlib.crc32(json.dumps(key).encode()):08x}.json", key


@cache
def _own_code() -> list[list[Any]]:
    """Stamps of the code that makes memos: another checkout, or an edit of it, makes others."""
    here = Path(__file__).parent
    files = sorted(os.scandir(here), key=lambda each: each.name) + sorted(
        os.scandir(here.parent / "reading"), key=lambda each: each.name
    )
    return [[each.path, each.stat().st_mtime_ns, each.stat().st_size] for each in files if each.name.endswith(".py")]


def _load(path: Path) -> dict[str, Any]:
    """Raises ValueError, Broken or OSError for what is not a whole memo."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size > _MAX_BYTES:
            raise Broken("its size")
        digest, _, content = file.read().partition(b"\n")
    if digest != _digest(content):
        raise Broken("its digest")
    memo = json.loads(content)
    if not isinstance(memo, dict):
        raise Broken("a memo")
    if time.time() - status.st_mtime > _NOTED_AFTER:
        with suppress(OSError):
            os.utime(path)
    return memo


def _save(path: Path, memo: dict[str, Any]) -> None:
    content = json.dumps(memo, separators=(",", ":")).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_away(path.parent)
    temporary = path.parent / f".{os.getpid()}-{time.monotonic_ns()}.partial"
    try:
        with temporary.open("xb") as file:
            file.write(_digest(content) + b"\n" + content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _digest(content: bytes) -> bytes:
    return b"%08x" % zlib.crc32(content)  # against damage, not against people


_cleared: set[Path] = set()


def _clear_away(folder: Path) -> None:
    """Once per process that writes: drop what was not used for long, and the oldest of too many."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    with suppress(OSError):
        aged = sorted(((each.stat().st_mtime, each.path) for each in os.scandir(folder) if each.is_file()), reverse=True)
        for position, (changed, path) in enumerate(aged):
            if position >= _MAX_FILES or time.time() - changed > _MAX_AGE:
                with suppress(OSError):
                    os.unlink(path)
