"""What saving and loading cost: ``python benchmarks/checkpoints.py [--megabytes 481] [--saves 5] [--directory DIR]``.

blocked        how long a save holds up the training: Lightning's own files, ours synchronously, and ours in the background
verification   share of the digests in loading: the same files read with and without them, in processes of their own

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from mmkit.experiment.checkpoint import DirectoryCheckpointIO, contents, verification, weights


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


@contextmanager
def without_digests() -> Iterator[None]:
    """Load as if nothing were verified: no hash is computed, and no file is read only to be hashed."""
    kept = contents.damage_of, weights.new_hash
    contents.damage_of = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]
    weights.new_hash = _Agreeing  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        contents.damage_of, weights.new_hash = kept


class _Agreeing:
    """Stands in for the hash."""

    def update(self, data: Any) -> None: ...

    def hexdigest(self) -> Any:
        return _Anything()


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # pyright: ignore[reportAssignmentType]


def load_times(path: Path, verified: bool) -> Times:
    """Seconds that one load takes in this process."""
    io = DirectoryCheckpointIO()
    if verified:
        return timed(lambda: io.load_checkpoint(path))
    with without_digests():
        return timed(lambda: io.load_checkpoint(path))


def verification_share(path: Path, num_loads: int) -> tuple[dict[str, list[Times]], float, float]:
    """Times with and without digests, each in a new process as when a run goes on, and the share of wall and CPU time."""
    times: dict[str, list[Times]] = {"verified": [], "without": []}
    verification.verify(path)  # the files are in the page cache for both
    for _ in range(num_loads):
        for name in times:
            command = [sys.executable, __file__, "--load", str(path), *(["--verified"] if name == "verified" else [])]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            times[name].append(tuple(json.loads(done.stdout.splitlines()[-1])))
    wall, cpu = (1 - median(times["without"], part) / median(times["verified"], part) for part in (0, 1))
    return times, wall, cpu


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
    loads, wall, cpu = verification_share(directory / "saved", num_saves)
    print(f"\n{'loading':32}{'wall s':>8}{'CPU s':>8}")
    for name, each in loads.items():
        print(f"{name:32}{median(each):8.3f}{median(each, 1):8.3f}")
    alone = timed(lambda: verification.verify(directory / "saved"))
    print(f"{'mmkit ckpt verify':32}{alone[0]:8.3f}{alone[1]:8.3f}")
    print(f"verification takes {wall:.1%} of the wall time and {cpu:.1%} of the CPU time of loading")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=481)
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: the temporary directory")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--verified", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.load:
        print(json.dumps(load_times(args.load, args.verified)))
        return
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        report(args.megabytes, args.saves, Path(directory))


if __name__ == "__main__":
    main()
