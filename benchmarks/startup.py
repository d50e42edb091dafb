"""What the answers of the command line cost before anything runs: CPU seconds of a process, in turns, medians.

    python benchmarks/startup.py
    pip install --no-deps --target peer mmlearn==0.1.0 -c constraints.txt
    python benchmarks/startup.py --peer peer

The peer's preview (`mmlearn_run task=ContrastivePretraining --help`) runs in the same environment. Where PyPI's torchvision is
installed beside a CPU-only torch, its import lacks two operators; they are declared for the peer as mmkit does for itself.

Warm: what was read from source is remembered. Cold: nothing is (an empty cache directory each time).
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turns import print_machine


SCRIPT = Path(sys.executable).with_name("mmkit_run")
EXPERIMENT = "experiment=emoji_clip"
_HYDRA_APP = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg): ...

main()
"""
_PEER = """
import sys
import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    try:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:  # torchvision brings its own
        pass
sys.argv[0] = "mmlearn_run"
from mmlearn.cli.run import main

main()
"""


@dataclass
class Side:
    """A command whose start is measured.

    Attributes:
        name: What the table calls it.
        command: The command.
        target: CPU seconds that it should not exceed; None for floors.
        environment: What differs from this process's.
        is_cold: Give it an empty cache directory each time.
    """

    name: str
    command: Sequence[str]
    target: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    is_cold: bool = False

    def cpu_seconds(self) -> float:
        """User and system time of one process, with its children."""
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, **self.environment, **({"XDG_CACHE_HOME": folder} if self.is_cold else {})}
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(self.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sides(peer: Path | None) -> list[Side]:
    """All commands; the floors first, the peer last."""
    run = [sys.executable, str(SCRIPT)]
    python = [sys.executable, "-c"]
    found = [
        Side("python", [*python, "pass"]),
        Side("import hydra", [*python, "import hydra"]),
        Side("a Hydra application, --help", [*python, _HYDRA_APP, "--help"]),
        Side("mmkit_run", run, 0.4),
        Side("completion of a key", [*run, "-sc", "query=bash"], 0.2, _typed(f"{EXPERIMENT} trainer.max_")),
        Side("completion of an option", [*run, "-sc", "query=bash"], 0.2, _typed(f"{EXPERIMENT} modules/losses@task.loss=Con")),
        Side("preview, warm", [*run, EXPERIMENT, "--help"], 0.45),
        Side("preview, cold", [*run, EXPERIMENT, "--help"], 1.2, is_cold=True),
        Side("a typo, told", [*run, EXPERIMENT, "trainer.max_step=3"], 0.7),
        Side("mmkit list modules/losses", [sys.executable, str(SCRIPT.with_name("mmkit")), "list", "modules/losses"], 0.3),
    ]
    if peer is not None:
        environment = {"PYTHONPATH": str(peer.resolve())}
        found.append(Side("mmlearn_run …, --help", [*python, _PEER, "task=ContrastivePretraining", "--help"], None, environment))
    return found


def _typed(words: str) -> dict[str, str]:
    line = f"mmkit_run {words}"
    return {"COMP_LINE": line, "COMP_POINT": str(len(line))}


def unusable(side: Side) -> str | None:
    """Why a command cannot be measured: its last line of error output; None if it works."""
    done = subprocess.run(side.command, env={**os.environ, **side.environment}, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def measured(found: Sequence[Side], rounds: int) -> dict[str, float]:
    """Median CPU seconds by name; everything runs once before, so that Python's own caches are filled."""
    seconds: dict[str, list[float]] = {side.name: [] for side in found}
    for turn in range(rounds + 1):
        for side in found:
            seconds[side.name].append(side.cpu_seconds())
        if turn == 0:
            seconds = {name: [] for name in seconds}
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, metavar="PATH", help="folder with mmlearn==0.1.0, installed with --no-deps --target")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    found = sides(arguments.peer)
    if arguments.peer is not None and (reason := unusable(found[-1])):
        print(f"The peer cannot be measured here: {reason}")
        found.pop()
    seconds = measured(found, arguments.rounds)
    print_machine(["torch", "lightning", "hydra-core", "omegaconf"])
    peer = seconds[found[-1].name] if arguments.peer is not None and found[-1].target is None else None
    print(f"{'CPU s, median of ' + str(arguments.rounds):<30}{'measured':>10}{'target':>10}{'peer is':>12}")
    for side in found:
        target = "" if side.target is None else f"{side.target:.2f}"
        times = f"{peer / seconds[side.name]:.0f} times" if peer is not None and side.target is not None else ""
        print(f"{side.name:<30}{seconds[side.name]:>10.3f}{target:>10}{times:>12}")


if __name__ == "__main__":
    main()
