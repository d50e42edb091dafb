"""What saving and loading cost: ``python benchmarks/checkpoints.py [--megabytes 481] [--saves 5] [--directory DIR]``.

blocked        how long a save holds up the training: Lightning's own files, ours synchronously, and ours in the background
verification   share of manifest and digests in the time of loading, in a new process each

The state is that of AdamW: one third weights, two thirds moments. Wall time, because a blocked training waits for the disk, too;
CPU time beside it. Medians; each kind of save writes a new file or directory every time.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from mmkit.experiment.checkpoint import DirectoryCheckpointIO, contents, verify, weights
from mmkit.experiment.checkpoint.manifest import new_hash


Times = tuple[float, float]  # wall and CPU seconds
NUM_LAYERS = 64


def make_checkpoint(megabytes: float) -> dict[str, Any]:
    """Weights and both moments of AdamW in as many bytes, in float32."""
    size = int(megabytes * 1e6 / 3 / 4 / NUM_LAYERS)
    weights = {f"layers.{number}.weight": torch.randn(size) for number in range(NUM_LAYERS)}
    moments = {
        number: {"step": torch.tensor(1.0), "exp_avg": torch.randn(size), "exp_avg_sq": torch.rand(size)}
        for number in range(NUM_LAYERS)
    }
    return {
        "epoch": 0,
        "global_step": 1,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": weights,
        "optimizer_states": [{"state": moments, "param_groups": [{"lr": 1e-3, "params": list(moments)}]}],
        "mmkit_state": {"step": 1, "epoch": 0, "score": None, "monitor": None},
    }


def timed(work: Callable[[], Any]) -> Times:
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def blocked_times(checkpoint: dict[str, Any], directory: Path, num_saves: int) -> dict[str, list[Times]]:
    """Seconds until a save returns, by kind; the kinds take turns, and the background has finished before the next."""
    ios = {
        "Lightning's file": TorchCheckpointIO(),
        "directory, synchronous": DirectoryCheckpointIO(asynchronous=False),
        "directory, in the background": DirectoryCheckpointIO(),
    }
    times: dict[str, list[Times]] = {name: [] for name in ios}
    for number in range(num_saves):
        for name, io in ios.items():
            path = directory / f"{name.replace(' ', '-')}-{number}"
            times[name].append(timed(lambda io=io, path=path: io.save_checkpoint(checkpoint, path)))
            if isinstance(io, DirectoryCheckpointIO):
                io.wait()
            for old in directory.iterdir():
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    return times


class Verification:
    """Adds up the time that is spent on manifest and digests while a checkpoint is loaded."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def timing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed_function(*args: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*args)
            finally:
                self.wall += time.perf_counter() - wall
                self.cpu += time.process_time() - cpu

        return timed_function

    def timed_hash(self) -> "TimedHash":
        return TimedHash(self)


class TimedHash:
    """The hash, whose time is added up."""

    def __init__(self, verification: Verification) -> None:
        digest = new_hash()
        self.update, self.hexdigest = verification.timing(digest.update), digest.hexdigest


def load_times(path: Path) -> tuple[Times, Times]:
    """Seconds that a load takes in this process, and those of them that verification takes."""
    spent = Verification()
    weights.new_hash = spent.timed_hash  # pyright: ignore[reportAttributeAccessIssue]
    contents.damage_of = spent.timing(contents.damage_of)
    contents.read_manifest = spent.timing(contents.read_manifest)
    whole = timed(lambda: DirectoryCheckpointIO().load_checkpoint(path))
    return whole, (spent.wall, spent.cpu)


def times_of_loads(path: Path, num_loads: int) -> dict[str, list[Times]]:
    """Times of loads, each in a new process as when a run goes on, with the files in the page cache."""
    verify(path)
    times: dict[str, list[Times]] = {"loading": [], "of that, verification": []}
    for _ in range(num_loads):
        command = [sys.executable, __file__, "--load", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        for each, seconds in zip(times.values(), json.loads(done.stdout.splitlines()[-1]), strict=True):
            each.append(tuple(seconds))
    return times


def median(times: list[Times], part: int = 0) -> float:
    """Median wall (0) or CPU (1) seconds."""
    return statistics.median(each[part] for each in times)


def report(megabytes: float, num_saves: int, directory: Path) -> None:
    machine = platform.processor() or platform.machine()
    print(f"{machine}, torch {torch.__version__}, {torch.get_num_threads()} thread, {megabytes:g} MB")
    print("command: python " + " ".join(sys.argv))
    checkpoint = make_checkpoint(megabytes)
    times = blocked_times(checkpoint, directory, num_saves)
    lightning, ours = (median(times[name]) for name in list(times)[:2])
    print(f"\n{'training is blocked by':32}{'wall s':>8}{'CPU s':>8}{'/ Lightning':>13}{'/ synchronous':>15}")
    for name, each in times.items():
        print(f"{name:32}{median(each):8.3f}{median(each, 1):8.3f}{median(each) / lightning:13.1%}{median(each) / ours:15.1%}")
    first, cpu = times["directory, in the background"][0]  # takes the memory for the copy
    print(f"{'… the first of these':32}{first:8.3f}{cpu:8.3f}{first / lightning:13.1%}{first / ours:15.1%}")
    DirectoryCheckpointIO(asynchronous=False).save_checkpoint(checkpoint, directory / "saved")
    del checkpoint
    loads = times_of_loads(directory / "saved", num_saves)
    print(f"\n{'':32}{'wall s':>8}{'CPU s':>8}")
    for name, each in loads.items():
        print(f"{name:32}{median(each):8.3f}{median(each, 1):8.3f}")
    alone = timed(lambda: verify(directory / "saved"))
    print(f"{'mmkit ckpt verify':32}{alone[0]:8.3f}{alone[1]:8.3f}")
    shares = [
        statistics.median(part[index] / whole[index] for whole, part in zip(*loads.values(), strict=True)) for index in (0, 1)
    ]
    print("verification takes {:.1%} of the wall time and {:.1%} of the CPU time of loading".format(*shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=481)
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: the temporary directory")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.load:
        print(json.dumps(load_times(args.load)))
        return
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        report(args.megabytes, args.saves, Path(directory))


if __name__ == "__main__":
    main()
