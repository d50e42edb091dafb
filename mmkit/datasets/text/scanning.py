"""Scanning a file for records: one range of bytes, or all of it in several processes at once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mmkit.datasets.text.records import BOM, Findings, RecordScanner, Rules


BLOCK_BYTES = 1 << 18  # what stays in a core's cache between the passes over it
RANGE_BYTES = 1 << 26  # least work that is worth a process
_STEP_BYTES = 1 << 12  # in which the start of a record is looked for
_REPORT_BYTES = 1 << 24  # between two reports of progress

Progress = Callable[[int], None]  # is told how many more bytes are done


# Shapes: N bytes of a block.
@dataclass(frozen=True)
class Range:
    """Some bytes of a file, from the start of a record to the start of another one, or to the file's end.

    Attributes:
        path: The file.
        start, end: First byte, and the one after the last.
        rules: What is a record.
        output: Where the starts of records are to be written, one after the other.
        dtype: As what.
    """

    path: str
    start: int
    end: int
    rules: Rules
    output: str
    dtype: str


def scan_range(work: Range, progress: Progress) -> Findings:
    """Write the starts of a range's records into its output; memory does not grow with the range."""
    scanner = RecordScanner(work.rules, work.start)
    done = work.start
    with open(work.path, "rb", buffering=0) as file, open(work.output, "wb") as output:
        file.seek(work.start)
        buffer_N = np.empty(BLOCK_BYTES, np.uint8)
        while scanner.position < work.end:
            num = file.readinto(memoryview(buffer_N)[: work.end - scanner.position])  # pyright: ignore[reportArgumentType]
            if not num:
                break  # cut off by somebody; whoever asked for the scan compares the stamps
            output.write(scanner.feed(buffer_N[:num]).astype(work.dtype).tobytes())
            if scanner.position - done >= _REPORT_BYTES:
                progress(scanner.position - done)
                done = scanner.position
        output.write(scanner.finish().astype(work.dtype).tobytes())
    progress(scanner.position - done)
    return scanner.findings


def scan_file(
    path: Path,
    rules: Rules,
    folder: Path,
    dtype: str,
    num_processes: int,
    progress: Progress,
    range_bytes: int = RANGE_BYTES,
) -> tuple[list[Path], Findings]:
    """Scan a file with several processes.

    Args:
        path: The file.
        rules: What is a record.
        folder: Where to put the starts.
        dtype: As what to write them.
        num_processes: At most so many; fewer for a small file.
        progress: Is told of what is done.
        range_bytes: Least bytes of a process.

    Returns:
        Files that together hold the starts of all records, and what was found besides.
    """
    boundaries = _boundaries(path, rules, min(num_processes, path.stat().st_size // range_bytes))
    work = [
        Range(str(path), start, end, rules, str(folder / f"part{i}"), dtype)
        for i, (start, end) in enumerate(pairwise(boundaries))
    ]
    total = Findings()
    for findings in [scan_range(work[0], progress)] if len(work) == 1 else _in_processes(work, progress):
        total.add(findings)
    return [Path(part.output) for part in work], total


def _boundaries(path: Path, rules: Rules, num_ranges: int) -> list[int]:
    """Where ranges start, each at the start of a record, and the file's size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = len(BOM) if file.read(len(BOM)) == BOM else 0
    boundaries, inside, counted = [first], False, first
    for i in range(1, num_ranges):
        nominal = max(size * i // num_ranges, first + 1)
        if rules.quote:
            inside ^= _num_bytes_equal(path, ord(rules.quote), counted, nominal) % 2 == 1
            counted = nominal
        boundaries.append(_next_start(path, rules, nominal, inside))
    return [*sorted({boundary for boundary in boundaries if boundary < size} | {first}), size]


def _next_start(path: Path, rules: Rules, position: int, inside: bool) -> int:
    """Start of some record after a position; the file's size if there is none."""
    with path.open("rb", buffering=0) as file:
        file.seek(position - 1)
        scanner = RecordScanner(rules, position, inside, before=file.read(1)[0])
        while scanner.open_start == position and (block := file.read(_STEP_BYTES)):
            scanner.feed(np.frombuffer(block, np.uint8))
    return scanner.open_start if scanner.open_start != position else scanner.position


def _num_bytes_equal(path: Path, byte: int, start: int, end: int) -> int:
    total = 0
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end and (block := file.read(min(BLOCK_BYTES, end - start))):
            total += block.count(byte)
            start += len(block)
    return total


def _in_processes(work: list[Range], progress: Progress) -> list[Findings]:
    # Not multiprocessing: a fork after torch has threads is unsafe, and spawn runs the user's script again.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-m", "mmkit.datasets.text.scanning"]
    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(lambda part: _run(part, command, environment, progress), work))


def _run(work: Range, command: list[str], environment: dict[str, str], progress: Progress) -> Findings:
    arguments = [*command, json.dumps(asdict(work))]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        last = ""
        for line in process.stdout:
            if line.startswith("{"):
                last = line
            else:
                progress(int(line))
        error = process.stderr.read()
    if process.returncode or not last:
        reason = (error.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"The process that scanned {work.path} failed with status {process.returncode}: {reason}")
    return Findings(**json.loads(last))


def _main() -> None:
    work = json.loads(sys.argv[1])
    findings = scan_range(Range(**{**work, "rules": Rules(**work["rules"])}), lambda num: print(num, flush=True))
    print(json.dumps(asdict(findings)), flush=True)


if __name__ == "__main__":
    _main()
