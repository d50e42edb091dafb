"""What the experiment manager costs a training step: seeding, guards, timing, metrics.jsonl, and saving in the background.

    python benchmarks/lifecycle.py

The cost does not depend on the model, so it is measured on a tiny one, where it stands out of the noise, and told as a share of a
step of emoji_clip: two heads on features, 256 examples a batch. Both sides take turns in one process.

How long a save holds up the training, and what verification costs a load, is in benchmarks/checkpoints.py.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
from lightning.pytorch import LightningDataModule
from loop_overhead import tiny_batches, tiny_towers
from sides import FUSED, Towers, fit, quiet
from torch import nn
from turns import Batch, Batches, Side, in_turns, print_machine

from mmkit.experiment.checkpoint import DirectoryCheckpointIO, Retention
from mmkit.experiment.checkpointing import RunCheckpoint, SaveSchedule
from mmkit.experiment.faults import NonFiniteGuard
from mmkit.experiment.memory import BatchShapes
from mmkit.experiment.metrics_file import MetricsFile
from mmkit.experiment.step_randomness import StepRandomness
from mmkit.experiment.stops import Stops
from mmkit.modules.encoders.identity import IdentityEncoder
from mmkit.modules.layers import MLP
from mmkit.modules.losses import ContrastiveLoss
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining
from mmkit.trainer.progress import TimedProgressBar
from mmkit.trainer.step_timing import StepTiming


SIZES = {"rgb": 1280, "text": 384}


class Marked(LightningDataModule):
    """Stands for the data: is told the next batch."""

    def mark(self, epoch: int, batch: int) -> None:
        self.next = epoch, batch


def towers() -> Towers:
    """The model of emoji_clip."""
    heads: dict[str, nn.Module] = {
        name: nn.Sequential(nn.LayerNorm(size), nn.Dropout(0.3), MLP(in_dim=size, hidden_dim=1024, out_dim=256, dropout=0.1))
        for name, size in SIZES.items()
    }
    return {name: IdentityEncoder(name) for name in SIZES}, heads


def batches(count: int = 8) -> list[Batch]:
    """Features of 256 examples each."""
    ids = torch.stack([torch.zeros(256, dtype=torch.long), torch.arange(256)], dim=1)
    return [
        {**{name: torch.randn(256, size) for name, size in SIZES.items()}, "example_ids": dict.fromkeys(SIZES, ids)}
        for _ in range(count)
    ]


def task(make: Callable[[], Towers]) -> ContrastivePretraining:
    """A task of its own for every side."""
    encoders, heads = make()
    return ContrastivePretraining(encoders, heads=heads, optimizer=FUSED, loss=ContrastiveLoss(l2_normalize=True))


def alone(make: Callable[[], Towers]) -> Side:
    """Our task with its log and progress bar."""
    return lambda timed: fit(task(make), timed, [TimedProgressBar()])


def managed(make: Callable[[], Towers], save_every: int = 10**9) -> Side:
    """The same with all that surrounds a run by default."""

    def run(timed: Batches) -> None:
        folder = Path(tempfile.mkdtemp())
        stops, metrics = Stops(), MetricsFile(folder / "metrics.jsonl")
        guard = NonFiniteGuard(folder, stops)
        saving = RunCheckpoint(
            folder / "checkpoints",
            SaveSchedule(every_n_train_steps=save_every, save_last=False),
            Marked(),  # pyright: ignore[reportArgumentType]
            stops,
            guard,
            describe=lambda: {"metrics_offset": metrics.offset()},
        )
        io = DirectoryCheckpointIO("", retention=Retention())
        callbacks = [StepRandomness(0), BatchShapes(), StepTiming(), guard, saving, TimedProgressBar()]
        fit(task(make), timed, callbacks, plugins=[io], enable_checkpointing=True, loggers=[metrics])
        io.wait()

    return run


def main(rounds: int, steps: int) -> None:
    """Print CPU milliseconds a step."""
    print_machine(["torch", "lightning"])
    torch.set_num_threads(1)
    tiny, small = tiny_batches(), batches()
    with quiet():
        model = in_turns({"emoji_clip": (alone(towers), small)}, rounds, max(steps // 10, 20), num_warmup=10)["emoji_clip"]
        sides = {"without manager": (alone(tiny_towers), tiny), "with manager": (managed(tiny_towers), tiny)}
        seconds = in_turns(sides, rounds, steps, num_warmup=50)
        saving = in_turns({"saving": (managed(towers, save_every=10), small)}, rounds, max(steps // 10, 20), num_warmup=10)[
            "saving"
        ]
    without, managed_step = seconds["without manager"], seconds["with manager"]
    more = managed_step - without
    print(f"tiny model    without manager {1e3 * without:.3f} ms a step, with manager {1e3 * managed_step:.3f} ms")
    print(f"manager       {1e3 * more:.3f} ms a step: {more / model:.2%} of a step of emoji_clip, {1e3 * model:.1f} ms")
    print(f"one save      {10e3 * (saving - model - more):.0f} ms of CPU, mostly in the background: 27 MB of weights and moments")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1000)
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.steps)
