"""What the experiment manager costs a training step: seeding, guards, timing, metrics.jsonl, and saving in the background.

    python benchmarks/lifecycle.py            # the model of emoji_clip: two heads on features, 256 examples a batch

How long a save holds up the training, and what verification costs a load, is in benchmarks/checkpoints.py.
"""

import argparse
import tempfile
from pathlib import Path


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
from lightning.pytorch import LightningDataModule
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


def task() -> ContrastivePretraining:
    """A task of its own for every side."""
    encoders, heads = towers()
    return ContrastivePretraining(encoders, heads=heads, optimizer=FUSED, loss=ContrastiveLoss(l2_normalize=True))


def alone(timed: Batches) -> None:
    """Our task with its log and progress bar."""
    fit(task(), timed, [TimedProgressBar()])


def managed(save_every: int | None) -> Side:
    """The same with all that surrounds a run by default."""

    def run(timed: Batches) -> None:
        folder = Path(tempfile.mkdtemp())
        stops, metrics = Stops(), MetricsFile(folder / "metrics.jsonl")
        guard = NonFiniteGuard(folder, stops)
        saving = RunCheckpoint(
            folder / "checkpoints",
            SaveSchedule(every_n_train_steps=save_every or 10**9, save_last=False),
            Marked(),  # pyright: ignore[reportArgumentType]
            stops,
            guard,
            describe=lambda: {"metrics_offset": metrics.offset()},
        )
        io = DirectoryCheckpointIO("", retention=Retention())
        callbacks = [StepRandomness(0), BatchShapes(), StepTiming(), guard, saving, TimedProgressBar()]
        fit(task(), timed, callbacks, plugins=[io], enable_checkpointing=True, loggers=[metrics])
        io.wait()

    return run


def main(rounds: int, steps: int) -> None:
    """Print CPU milliseconds a step."""
    print_machine(["torch", "lightning"])
    torch.set_num_threads(1)
    made = batches()
    sides: dict[str, Side] = {
        "without manager": alone,
        "with manager": managed(None),
        f"with manager, saving every {steps // 2} steps": managed(steps // 2),
    }
    with quiet():
        seconds = in_turns({name: (side, made) for name, side in sides.items()}, rounds, steps, num_warmup=20)
    bare = seconds["without manager"]
    print(f"{'':<40}{'ms / step':>12}{'more':>10}")
    for name, value in seconds.items():
        print(f"{name:<40}{1e3 * value:>12.3f}{value / bare - 1:>10.1%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.steps)
