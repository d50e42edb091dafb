"""Mega against the port that transformers 4.44 had: CPU seconds and bytes, in turns, medians, one thread.

    python -m venv port
    port/bin/pip install transformers==4.44.2 "numpy<2.3" torch==2.13.0
    python benchmarks/mega.py all --port port/bin/python

``ema`` is the damped moving average (forward and backward), ``train`` and ``infer`` the whole model, ``decode`` one token after a
context; ``all`` is everything. Each side is a process of its own (mega_worker.py), with the same torch; while one works the other
waits. Without ``--port`` only mmkit's figures are printed.

The model is what ``MegaConfig()`` describes (4 layers, 128 wide), without a head: its matrix product is the same on both sides
and would hide the rest. Bytes are the most that tensors took at once during the work.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turns import print_machine


WORKER = Path(__file__).with_name("mega_worker.py")
BIDIRECTIONAL: Mapping[str, Any] = {}
AVERAGE: Mapping[str, Any] = {"bidirectional": False}  # of an encoder
CAUSAL: Mapping[str, Any] = {"bidirectional": False, "is_decoder": True}
CHUNKS: Mapping[str, Any] = {"use_chunking": True, "chunk_size": 128}


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        group: What the command line selects it by.
        name: What the table calls it.
        work: A function of mega_worker.py.
        config: What differs from ``MegaConfig()``.
        length: Positions; the context when decoding.
        target: By how much mmkit should be better; None where there is none.
        memory: Measure bytes instead of seconds.
        port_can: False where the port crashes.
    """

    group: str
    name: str
    work: str
    config: Mapping[str, Any]
    length: int
    target: float | None = None
    memory: bool = False
    port_can: bool = True


CASES = [
    Case("ema", "average, L=2048, bidirectional", "ema", BIDIRECTIONAL, 2048, 10),
    Case("ema", "average, L=2048, causal", "ema", AVERAGE, 2048, 4),
    Case("ema", "average, L=8192, bidirectional", "ema", BIDIRECTIONAL, 8192, 10),
    Case("ema", "average, L=8192, causal", "ema", AVERAGE, 8192, 10),
    Case("ema", "kernel, L=8192, bidirectional, bytes", "kernel", BIDIRECTIONAL, 8192, 20, memory=True),
    Case("ema", "average, L=8192, bidirectional, bytes", "ema", BIDIRECTIONAL, 8192, None, memory=True),
    Case("ema", "average, L=8192, causal, bytes", "ema", AVERAGE, 8192, None, memory=True),
    Case("train", "training, L=2048, chunk 128, bidirectional", "train", {**BIDIRECTIONAL, **CHUNKS}, 2048, 3.5),
    Case("train", "training, L=2048, chunk 128, causal", "train", {**CAUSAL, **CHUNKS, "use_cache": False}, 2048, 1.8),
    Case("infer", "inference, L=2048, chunk 128, bidirectional", "infer", {**BIDIRECTIONAL, **CHUNKS}, 2048, 5),
    Case("infer", "inference, L=2048, chunk 128, causal", "infer", {**CAUSAL, **CHUNKS, "use_cache": False}, 2048, 2),
    Case("decode", "8 tokens after 1024", "decode", CAUSAL, 1024, 4),
    Case("decode", "8 tokens after 2048", "decode", CAUSAL, 2048, 8),
    Case("decode", "8 tokens after 1024, chunk 128", "decode", {**CAUSAL, **CHUNKS}, 1024, port_can=False),
    Case("decode", "8 tokens after 8192, chunk 128", "decode", {**CAUSAL, **CHUNKS}, 8192, port_can=False),
]


class Worker:
    """A process that does one side's work."""

    def __init__(self, python: str, side: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
        command = [python, "-W", "ignore", str(WORKER), side]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: Mapping[str, Any]) -> float:
        """Hand over a line and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended; what it said stands above.")  # pyright: ignore
        return json.loads(answer)

    def close(self) -> None:
        self.process.communicate()


def measured(case: Case, workers: Mapping[str, Worker], rounds: int, batch: int) -> dict[str, float]:
    """Median of each side that can do the case."""
    sides = {name: worker for name, worker in workers.items() if name == "mmkit" or case.port_can}
    told = {"case": case.work, "config": dict(case.config), "length": case.length, "batch": batch, "memory": case.memory}
    for worker in sides.values():
        worker.tell(told)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(1 if case.memory else rounds):  # bytes are the same every time
        for name, worker in sides.items():
            found[name].append(worker.tell({"go": True}))
    return {name: statistics.median(values) for name, values in found.items()}


def row(case: Case, medians: Mapping[str, float]) -> str:
    """A line of the table: milliseconds or mebibytes, their ratio and its target."""
    unit = 2**20 if case.memory else 1e-3
    values = {name: f"{value / unit:.1f}" for name, value in medians.items()}
    ratio = f"{medians['port'] / medians['mmkit']:.1f}" if "port" in medians else ""
    target = "" if case.target is None else f"{case.target:g}"
    return f"{case.name:<46}{values.get('port', ''):>10}{values['mmkit']:>10}{ratio:>8}{target:>8}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", choices=[*dict.fromkeys(case.group for case in CASES), "all"])
    parser.add_argument("--port", metavar="PYTHON", help="interpreter of an environment with transformers==4.44.2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args(arguments)
    workers = {"mmkit": Worker(sys.executable, "mmkit")}
    if given.port:
        workers = {"port": Worker(given.port, "port"), **workers}
    print_machine(["torch", "transformers"])
    print(f"{'CPU ms or MiB, median of ' + str(given.rounds):<46}{'port':>10}{'mmkit':>10}{'ratio':>8}{'target':>8}")
    for case in CASES:
        if given.group in (case.group, "all"):
            print(row(case, measured(case, workers, given.rounds, given.batch)), flush=True)
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
