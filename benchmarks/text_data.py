"""Text data beside the obvious way to write it: ``python benchmarks/text_data.py [NAME ...] [--megabytes 500]``, by default all.

``index`` finds where the records of a file start, ``reads`` reads documents in random order, the file being in memory. Every
figure is of a process of its own, with one core; the sides take turns. Seconds are of CPU time, without imports; memory is the
most that the whole process held, Python and packages included. A ratio above 1 is in our favour. ``denoising`` times denoisers
in one process; see denoising.py.
"""

import argparse
import csv
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from turns import print_machine


NUM_READS = 200_000
SENTENCE = "the mutual information machine learns a latent code of every sentence that an encoder reads and a decoder writes"

Job = Callable[[Path], int]  # does its work with a file and returns the number of units: bytes, documents


# --- Files. Each is made of the same sentences.
def write_lines(path: Path, num_bytes: int) -> None:
    """One sentence a line."""
    _write(path, num_bytes, (f"{sentence}\n" for sentence in _sentences()))


def write_csv(path: Path, num_bytes: int) -> None:
    """Two columns; every fourth text is quoted, with a comma, quotes and a line break in it."""
    rows = (f'{i},"{s}, ""so"" it\nis said"\n' if i % 4 == 0 else f"{i},{s}\n" for i, s in enumerate(_sentences()))
    _write(path, num_bytes, rows, head="id,text\n")


def _sentences() -> Iterator[str]:
    draw = random.Random(0)
    while True:
        yield " ".join(draw.choices(SENTENCE.split(), k=draw.randint(5, 40)))


def _write(path: Path, num_bytes: int, lines: Iterator[str], head: str = "") -> None:
    some = "".join(next(lines) for _ in range(20_000)).encode()
    with path.open("wb") as file:
        file.write(head.encode())
        while file.tell() < num_bytes:
            file.write(some)


# --- Jobs. Imports are theirs, so that a process holds what its side needs.
def index_lines(path: Path) -> int:
    from mmkit.datasets.text.index import open_or_build
    from mmkit.datasets.text.records import Rules

    return timed(lambda: open_or_build(path, Rules(), path.parent / "index", num_processes=1).stamp.size)


def index_lines_plainly(path: Path) -> int:
    return timed(lambda: line_starts(path)[-1])


def line_starts(path: Path) -> list[int]:
    """A list of where lines start, and the file's size."""
    starts, position = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                starts.append(position)
            position += len(line)
    return [*starts, position]


def index_csv(path: Path) -> int:
    from mmkit.datasets.text.index import open_or_build
    from mmkit.datasets.text.records import Rules

    return timed(lambda: open_or_build(path, Rules('"', ","), path.parent / "index", num_processes=1).stamp.size)


def index_csv_plainly(path: Path) -> int:
    return timed(lambda: csv_starts(path)[-1])


def csv_starts(path: Path) -> list[int]:
    """A list of where records start, and the file's size."""
    starts, position = [0], 0
    with path.open("rb") as file:

        def lines() -> Iterator[str]:
            nonlocal position
            for line in file:
                position += len(line)
                yield line.decode()

        starts.extend(position for _ in csv.reader(lines()))
    return starts


def read_lines(path: Path) -> int:
    from mmkit.datasets.text.dataset import TextMMap

    return _read_all(TextMMap(str(path), index_mapping_dir=str(path.parent / "index")))


def read_csv(path: Path) -> int:
    from mmkit.datasets.text.dataset import TextMMap

    return _read_all(TextMMap(str(path), data_impl="csv_mmap", index_mapping_dir=str(path.parent / "index")))


class Seeking:
    """Reads documents at their places in an open file, into the examples that collators take."""

    def __init__(self, path: Path, starts: list[int], read: Callable[[BinaryIO], str]) -> None:
        from mmkit.datasets.core import Example

        self.file, self.starts, self.read, self.make = path.open("rb"), starts, read, Example

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> Any:
        self.file.seek(self.starts[index])
        return self.make({"example_index": index, "text": self.read(self.file)})


def read_lines_plainly(path: Path) -> int:
    return _read_all(Seeking(path, line_starts(path), lambda file: file.readline().decode().rstrip("\r\n")))


def read_csv_plainly(path: Path) -> int:
    return _read_all(Seeking(path, csv_starts(path)[1:], lambda file: next(csv.reader(map(bytes.decode, file)))[1]))


def _read_all(dataset) -> int:
    draw = random.Random(0)
    order = [draw.randrange(len(dataset)) for _ in range(NUM_READS)]

    def read() -> int:
        for index in order:
            dataset[index]
        return len(order)

    read()  # warm: the pages that are read lie in memory
    return timed(read)


SIDES: dict[str, tuple[Job, Callable[[Path, int], None]]] = {
    "index lines": (index_lines, write_lines),
    "index lines, lines of a file": (index_lines_plainly, write_lines),
    "index CSV": (index_csv, write_csv),
    "index CSV, csv module": (index_csv_plainly, write_csv),
    "read lines": (read_lines, write_lines),
    "read lines, seek and readline": (read_lines_plainly, write_lines),
    "read CSV": (read_csv, write_csv),
    "read CSV, seek and csv module": (read_csv_plainly, write_csv),
}


# --- Measuring.
def timed(job: Callable[[], int]) -> int:
    """Do a job in this process, and print what it took."""
    start = time.process_time()
    num = job()
    seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"num": num, "seconds": seconds, "megabytes": peak}))
    return num


def measured(side: str, path: Path) -> dict[str, float]:
    """Run a side in a process of its own."""
    for leftover in path.parent.glob("index/*"):
        if side.startswith("index"):
            leftover.unlink()
    command = [sys.executable, __file__, "--side", side, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(pairs: list[tuple[str, str]], unit: str, scale: float, rounds: int, megabytes: int) -> None:
    """Print the rates of ours and of the other side, in turns."""
    print(f"{unit + ' per CPU second':<26}{'ours':>12}{'other':>12}{'ratio':>9}{'ours MB':>10}{'other MB':>10}   other")
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs:
            path = Path(folder) / f"{pair[0].split()[-1]}.data"
            if not path.exists():
                SIDES[pair[0]][1](path, megabytes * 1_000_000)
            results = [[measured(side, path) for side in pair] for _ in range(rounds)]
            rates = [statistics.median(row[i]["num"] / row[i]["seconds"] / scale for row in results) for i in range(2)]
            peaks = [max(row[i]["megabytes"] for row in results) for i in range(2)]
            columns = f"{rates[0]:>12.2f}{rates[1]:>12.2f}{rates[0] / rates[1]:>8.1f}x{peaks[0]:>10.0f}{peaks[1]:>10.0f}"
            print(f"{pair[0]:<26}{columns}   {pair[1].partition(', ')[2]}", flush=True)
    print()


def index(arguments: argparse.Namespace) -> None:
    """Where the records of a file start."""
    pairs = [("index lines", "index lines, lines of a file"), ("index CSV", "index CSV, csv module")]
    compare(pairs, "GB", 1e9, arguments.rounds, arguments.megabytes)


def reads(arguments: argparse.Namespace) -> None:
    """Documents in random order."""
    pairs = [("read lines", "read lines, seek and readline"), ("read CSV", "read CSV, seek and csv module")]
    compare(pairs, "1000 documents", 1e3, arguments.rounds, arguments.megabytes)


def denoising(_: argparse.Namespace) -> None:
    """Texts corrupted for a model to restore."""
    from denoising import denoising as compare_denoisers

    compare_denoisers()


#: The benchmarks that can be asked for by name; each prints its table.
BENCHMARKS: dict[str, Callable[[argparse.Namespace], None]] = {"index": index, "reads": reads, "denoising": denoising}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="benchmark", help=f"any of: {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--megabytes", type=int, default=500, help="size of the files")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of every side")
    parser.add_argument("--side", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is not None:
        SIDES[arguments.side[0]][0](Path(arguments.side[1]))
        return
    names = arguments.names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    print_machine(["numpy", "torch"])
    for name in names:
        BENCHMARKS[name](arguments)


if __name__ == "__main__":
    main()
