"""The index of a text file: where its records start; made once, found again, never trusted when it is stale or damaged."""

import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mmkit.datasets.cache import cache_root, locked
from mmkit.datasets.text.container import Container, DamagedError, read_container, write_container
from mmkit.datasets.text.records import Findings, Rules
from mmkit.datasets.text.scanning import scan_file
from mmkit.datasets.text.stamp import Stamp, stamp_of
from mmkit.errors import RefusedError


logger = logging.getLogger(__name__)

_SHOWN_FROM = 1 << 28  # bytes of a file whose scan takes long enough for a progress bar
_COPY_BYTES = 1 << 20
_LEFT_AFTER = 24 * 3600  # seconds
_TELLING_STARTS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "compressed by gzip",
    b"(\xb5/\xfd": "compressed by zstd",
}


# Shapes: R records.
@dataclass(frozen=True)
class RecordIndex:
    """Where the records of a file start.

    Attributes:
        source: The file.
        stamp: What the file was like.
        container: Where the index lies.
        findings: What else the scan has found.
    """

    source: Path
    stamp: Stamp
    container: Container
    findings: Findings

    @property
    def starts(self) -> np.ndarray:
        """Position of every record's first byte, and the file's size: (R + 1,), uint32 or int64."""
        return self.container.arrays["starts"]

    def __len__(self) -> int:
        return self.findings.num_records


def open_or_build(
    source: Path, rules: Rules, index_mapping_dir: Path | None = None, num_processes: int | None = None
) -> RecordIndex:
    """The index of a file as it is now; built unless a whole one of this file is found.

    Several processes and nodes may ask at once: where locks work, one builds and the others wait; where they do not, some build
    in vain, but nobody sees half an index.

    Args:
        source: The file.
        rules: What is a record.
        index_mapping_dir: Where indexes are looked for and written; default: beside the file, or in mmkit's data folder where
            that cannot be written.
        num_processes: Default: as many as this process may use cores.

    Raises:
        RefusedError: The file is missing, changes all the time, or has a quote where CSV knows none; or ``index_mapping_dir``
            cannot be written.
    """
    if not source.is_file():
        raise RefusedError(f"There is no file {source}{' (it is a folder)' if source.is_dir() else ''}. Check `data_prefix`.")
    places = index_places(source, index_mapping_dir, "records", asdict(rules))
    for place in places:
        if (found := _opened(place, source, rules)) is not None:
            return found
    target = writable_place(places, source)
    with alone(target):
        found = _opened(target, source, rules)
        if found is None:
            _build(source, rules, target, num_processes or num_cores())
            found = _opened(target, source, rules)
    if found is None:
        raise RefusedError(f"{source} changed while it was indexed. Start again when nobody writes it any more.")
    return found


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def index_places(source: Path, index_mapping_dir: Path | None, kind: str, settings: dict[str, Any]) -> list[Path]:
    """Where an index may lie, the preferred place first: beside its file, or in a folder for indexes of files from anywhere.

    Args:
        source: The file.
        index_mapping_dir: The only folder, if given.
        kind: Of index; its suffix.
        settings: What is indexed; indexes with others have other names.
    """
    beside = source.parent / f"{source.name}.{_digest(settings)}.{kind}"
    named = f"{source.name}.{_digest([str(source.absolute()), settings])}.{kind}"
    return [index_mapping_dir / named] if index_mapping_dir is not None else [beside, cache_root() / "text_index" / named]


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=6).hexdigest()


def writable_place(places: list[Path], source: Path) -> Path:
    """The first place whose folder can be written.

    Raises:
        RefusedError: There is none.
    """
    refused = ""
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place.parent):
                pass
        except OSError as error:
            refused = f"{place.parent} cannot be written ({error.strerror})"
        else:
            if refused:
                logger.warning("%s; what is indexed of %s goes to %s. Or set index_mapping_dir.", refused, source, place.parent)
            return place
    raise RefusedError(f"{refused}; there is no place for the index of {source}. Set index_mapping_dir.")


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Like :func:`~mmkit.datasets.cache.locked`; where the file system knows no locks, without one."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(target))
        except (NotImplementedError, OSError) as error:
            logger.info("%s cannot be locked (%s); if several processes need it now, each builds it.", target, error)
        yield


def _opened(path: Path, source: Path, rules: Rules) -> RecordIndex | None:
    try:
        container = read_container(path)
    except FileNotFoundError:
        return None
    except (DamagedError, OSError) as error:
        logger.warning("%s It is built anew.", error)
        return None
    stamp = stamp_of(source)
    if container.meta["stamp"] != asdict(stamp) or container.meta["rules"] != asdict(rules):
        logger.info("%s changed after %s was built: it is built anew.", source, path)
        return None
    return RecordIndex(source, stamp, container, Findings(**container.meta["findings"]))


def _build(source: Path, rules: Rules, target: Path, num_processes: int) -> None:
    clear_leftovers(target)
    stamp = stamp_of(source)
    dtype = np.dtype("<u4" if stamp.size < 1 << 32 else "<i8")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.parts") as folder, _progress(stamp.size) as bar:
        task = bar.add_task(f"Indexing {source.name}", total=stamp.size)
        parts, findings = scan_file(source, rules, Path(folder), dtype.str, num_processes, partial(bar.advance, task))
        if findings.bad_quote is not None:
            raise RefusedError(
                f"{source}, line {line_at(source, findings.bad_quote)}: a {rules.quote} that neither begins nor ends a field, or "
                f"is never closed. Quote the whole field and double the {rules.quote} in it, or set quote='' for a file "
                "without quoting, whose records are its lines."
            )
        chunks = chain(_chunks(parts), [np.array([stamp.size], dtype).tobytes()])
        meta = {"stamp": asdict(stamp), "rules": asdict(rules), "findings": asdict(findings)}
        write_container(target, {"starts": (dtype, chunks)}, meta)


def clear_leftovers(target: Path) -> None:
    """Remove what killed processes left; not what is recent: where there are no locks, another node may be writing it."""
    for leftover in chain.from_iterable(target.parent.glob(f".{glob.escape(target.name)}.{end}") for end in ("parts*", "*.tmp")):
        with suppress(FileNotFoundError):  # another node was faster
            if time.time() - leftover.stat().st_mtime <= _LEFT_AFTER:
                continue
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink()


def _chunks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as file:
            while chunk := file.read(_COPY_BYTES):
                yield chunk


def _progress(size: int) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=size < _SHOWN_FROM)


def line_at(source: Path, position: int) -> int:
    """Number of the line that holds a byte, the first is 1; reads the file up to there."""
    number = 1
    with source.open("rb") as file:
        while position > 0 and (block := file.read(min(position, _COPY_BYTES))):
            number += block.count(b"\n")
            position -= len(block)
    return number


def not_utf8(source: Path, position: int) -> RefusedError:
    """What to say of a file that is no UTF-8 at some byte."""
    with source.open("rb") as file:
        start = file.read(4)
    what = next((f" The file seems to be {kind}." for key, kind in _TELLING_STARTS.items() if start.startswith(key)), "")
    return RefusedError(
        f"{source}, line {line_at(source, position)}: byte {position:,} is not UTF-8.{what} Convert the file, or set "
        "invalid_bytes='replace' to read every such byte as U+FFFD."
    )
