"""Timing: sides that take turns in one process, and the machine that they ran on."""

import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any


Batch = dict[str, Any]


class Batches:
    """Batches that note the CPU time at which each was asked for."""

    def __init__(self, batches: Sequence[Batch], num_steps: int) -> None:
        self.batches, self.num_steps = batches, num_steps
        self.times: list[float] = []

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[Batch]:
        for batch in islice(cycle(self.batches), self.num_steps):
            self.times.append(time.process_time())
            yield batch

    def seconds_per_step(self, num_warmup: int) -> float:
        return (self.times[-1] - self.times[num_warmup]) / (len(self.times) - 1 - num_warmup)


Side = Callable[[Batches], None]  # trains a model of its own on all batches
Sides = dict[str, tuple[Side, Sequence[Batch]]]


def in_turns(sides: Sides, num_rounds: int, num_steps: int, num_warmup: int) -> dict[str, float]:
    """Median CPU seconds of a step of every side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(num_rounds):
        for name, (run, batches) in sides.items():
            timed = Batches(batches, num_warmup + num_steps + 1)
            run(timed)
            seconds[name].append(timed.seconds_per_step(num_warmup))
    return {name: statistics.median(values) for name, values in seconds.items()}


def processor() -> tuple[str, bool]:
    """Name of the processor, and whether it multiplies bfloat16 itself."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    return name.group(1) if name else platform.processor(), bool(re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", text))


def print_machine(packages: Sequence[str]) -> None:
    """Say what the figures were measured on, with which versions and which command."""
    name, has_bf16 = processor()
    bf16 = "native" if has_bf16 else "no native"
    print(f"{name}, {bf16} bfloat16, {os.cpu_count()} cores, one thread used, {platform.platform()}")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{package} {version(package)}" for package in packages))
    print("$ python " + " ".join(sys.argv) + "\n")
