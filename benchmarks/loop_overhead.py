"""What the whole loop, with logging and progress bar, adds to a training step of a tiny model."""

import cProfile
import pstats
import time
from pathlib import Path


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
from lightning.pytorch import LightningModule
from sides import FUSED, BareModel, Towers, bare_loop, fit, ours
from torch import Tensor, nn
from turns import Batch, Batches, Side, in_turns

from mmkit.modules.losses import ContrastiveLoss
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining


class Tower(nn.Module):
    """A linear encoder, so small that the loop is what is measured."""

    def __init__(self, modality: str) -> None:
        super().__init__()
        self.modality, self.linear = modality, nn.Linear(8, 8)

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor]:
        return (self.linear(inputs[self.modality]),)


def tiny_towers() -> Towers:
    """Encoders and heads of the tiny model."""
    return {name: Tower(name) for name in ("rgb", "text")}, {name: nn.Identity() for name in ("rgb", "text")}


class DefaultTask(LightningModule):
    """The bare model under Lightning as its tutorials write it."""

    def __init__(self, logs: bool) -> None:
        super().__init__()
        self.model, self.logs = BareModel(*tiny_towers()), logs

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.model(batch)
        if self.logs:
            self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return FUSED(self.parameters())


class OurModel(nn.Module):
    """Our model and loss without Lightning."""

    def __init__(self) -> None:
        super().__init__()
        encoders, heads = tiny_towers()
        self.task = ContrastivePretraining(encoders, heads=heads, loss=ContrastiveLoss(l2_normalize=True))

    def forward(self, batch: Batch) -> Tensor:
        task, loss = self.task, self.task.loss_fn
        assert loss is not None
        return loss(task(batch), batch["example_ids"], task.logit_scale, task.modality_loss_pairs)


def tiny_batches() -> list[Batch]:
    """One batch of eight examples for the tiny model."""
    ids_B2 = torch.stack([torch.zeros(8, dtype=torch.long), torch.arange(8)], dim=1)
    return [{"rgb": torch.randn(8, 8), "text": torch.randn(8, 8), "example_ids": {"rgb": ids_B2, "text": ids_B2}}]


def overhead(rounds: int, steps: int) -> None:
    """CPU milliseconds that the loop adds to a step; ``steps`` a multiple of 50, as every 50th is logged."""
    sides: dict[str, Side] = {
        "bare loop": bare_loop(BareModel(*tiny_towers()), FUSED),
        "bare loop, our model and loss": bare_loop(OurModel(), FUSED),
        "Lightning, barebones": lambda timed: fit(DefaultTask(logs=False), timed, [], barebones=True),
        "Lightning, default log and bar": lambda timed: fit(DefaultTask(logs=True), timed, []),
        "ours, log and bar": ours(tiny_towers, FUSED),
    }
    batches = tiny_batches()
    seconds = in_turns({name: (side, batches) for name, side in sides.items()}, rounds, steps, num_warmup=50)
    print(f"{'':<32}{'ms / step':>12}{'above bare':>12}")
    for name, value in seconds.items():
        print(f"{name:<32}{1e3 * value:>12.3f}{1e3 * (value - seconds['bare loop']):>12.3f}")


def profile(rounds: int, steps: int) -> None:
    """Where the CPU time of our loop goes, in microseconds a step; profiling itself makes it slower."""
    profiler, side, batches = cProfile.Profile(time.process_time), ours(tiny_towers, FUSED), tiny_batches()
    side(Batches(batches, 100))
    for _ in range(rounds):
        profiler.runcall(side, Batches(batches, steps))
    for order, column in (("tottime", 2), ("cumulative", 3)):
        print(f"\nby {order}, microseconds and calls a step")
        rows = pstats.Stats(profiler).stats.items()  # pyright: ignore[reportAttributeAccessIssue]
        for (file, line, name), row in sorted(rows, key=lambda item: -item[1][column])[:45]:
            place = "/".join(Path(file).parts[-3:])
            print(f"{1e6 * row[column] / rounds / steps:>10.1f}  x{row[1] / rounds / steps:<6.1f} {name}  {place}:{line}")
