"""Cost of a contrastive training step beside a bare PyTorch loop and open_clip: ``python benchmarks/contrastive_step.py MODE``.

step      samples per CPU-second: ViT-Ti/16 at 64 px and a text transformer of 4 layers x 256, captions of mixed length
overhead  CPU milliseconds that the whole loop, with logging and progress bar, adds to a step of a tiny model
loader    examples per second from one worker: bytes, or floats that the worker has normalised

All sides run in one process on one thread and take turns; the table shows medians of CPU time.
"""

import argparse
import cProfile
import io
import logging
import os
import platform
import pstats
import re
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmkit.modules.encoders import TextTransformer, VisionTransformer
from mmkit.modules.losses import ContrastiveLoss
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining
from mmkit.trainer.progress import TimedProgressBar


# Shapes: B batch, L tokens, C channels, H, W pixels, D embedding dim.
BATCH_SIZE, IMAGE_SIZE, EMBED_DIM = 64, 64, 256
VOCAB_SIZE, MAX_LENGTH, START, END = 49408, 77, 49406, 49407
MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Batch = dict[str, Any]
Side = Callable[["Batches"], None]  # trains a model of its own on all batches
Sides = dict[str, tuple[Side, Sequence[Batch]]]


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


def in_turns(
    sides: dict[str, tuple[Side, Sequence[Batch]]], num_rounds: int, num_steps: int, num_warmup: int
) -> dict[str, float]:
    """Median CPU seconds of a step of every side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(num_rounds):
        for name, (run, batches) in sides.items():
            timed = Batches(batches, num_warmup + num_steps + 1)
            run(timed)
            seconds[name].append(timed.seconds_per_step(num_warmup))
    return {name: statistics.median(values) for name, values in seconds.items()}


# Data and models of the step


def caption_lengths(generator: torch.Generator) -> Tensor:
    """Tokens of a batch's captions: log-normal with median 13, as web captions, from 4 to 77."""
    return torch.empty(BATCH_SIZE).log_normal_(2.55, 0.45, generator=generator).round().long().clamp(4, MAX_LENGTH)


def make_batches(num: int, trimmed: bool, image_size: int = IMAGE_SIZE) -> list[Batch]:
    """Batches as the collator makes them; texts padded to the longest of the batch, or all to 77 tokens."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(num):
        lengths_B1 = caption_lengths(generator)[:, None]
        tokens_BL = torch.randint(1, START, (BATCH_SIZE, MAX_LENGTH), generator=generator)
        position_L = torch.arange(MAX_LENGTH)
        tokens_BL[:, 0] = START
        tokens_BL = tokens_BL.where(position_L < lengths_B1, 0).scatter(1, lengths_B1 - 1, END)
        length = int(lengths_B1.max()) if trimmed else MAX_LENGTH
        ids_B2 = torch.stack([torch.zeros(BATCH_SIZE, dtype=torch.long), torch.arange(BATCH_SIZE)], dim=1)
        batches.append(
            {
                "rgb": torch.randint(0, 256, (BATCH_SIZE, 3, image_size, image_size), dtype=torch.uint8, generator=generator),
                "text": tokens_BL[:, :length].contiguous(),
                "text_attention_mask": (position_L < lengths_B1).long()[:, :length].contiguous(),
                "example_ids": {"rgb": ids_B2, "text": ids_B2},
            }
        )
    return batches


def normalized(batches: Sequence[Batch]) -> list[Batch]:
    """The same with images as the peers take them, normalised floats."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in MEAN_STD)
    return [{**batch, "rgb": (batch["rgb"] / 255 - mean) / std} for batch in batches]


def make_towers() -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Encoders and heads: ViT-Ti/16 and the text tower of open_clip's shape."""
    vision = VisionTransformer(image_size=IMAGE_SIZE, width=192, depth=12, num_heads=3)
    text = TextTransformer(VOCAB_SIZE, MAX_LENGTH, width=256, depth=4, num_heads=4, causal=True, pooling="eos", eos_token_id=END)
    heads = {"rgb": nn.Linear(192, EMBED_DIM, bias=False), "text": nn.Linear(256, EMBED_DIM, bias=False)}
    return {"rgb": vision, "text": text}, heads


class BareModel(nn.Module):
    """Two towers and CLIP's loss in plain PyTorch."""

    def __init__(self, encoders: dict[str, nn.Module], heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.encoders, self.heads = nn.ModuleDict(encoders), nn.ModuleDict(heads)
        self.log_scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, batch: Batch) -> Tensor:
        # the end token is what the texts are pooled by; a causal tower needs no padding mask
        inputs = {name: {name: batch[name]} for name in self.encoders}
        a_BD, b_BD = (F.normalize(self.heads[m](self.encoders[m](inputs[m])[0]), dim=-1) for m in self.encoders)
        logits_BB = self.log_scale.exp() * a_BD @ b_BD.T
        labels_B = torch.arange(len(a_BD))
        return (F.cross_entropy(logits_BB, labels_B) + F.cross_entropy(logits_BB.T, labels_B)) / 2


class OpenCLIP(nn.Module):
    """open_clip's model and loss."""

    def __init__(self) -> None:
        super().__init__()
        from open_clip.loss import ClipLoss
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

        vision = CLIPVisionCfg(layers=12, width=192, head_width=64, patch_size=16, image_size=IMAGE_SIZE)
        text = CLIPTextCfg(context_length=MAX_LENGTH, vocab_size=VOCAB_SIZE, width=256, heads=4, layers=4)
        self.model, self.loss = CLIP(EMBED_DIM, vision, text), ClipLoss()

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(*self.model(batch["rgb"], batch["text"]))


def bare_loop(model: nn.Module, optimizer: partial[torch.optim.Optimizer], bf16: bool = False) -> Side:
    """The shortest training loop."""

    def run(batches: Batches) -> None:
        stepper = optimizer(model.parameters())
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                loss = model(batch)
            stepper.zero_grad()
            loss.backward()
            stepper.step()

    return run


def ours(make: Callable[[], tuple[dict, dict]], optimizer: partial[torch.optim.Optimizer], bf16: bool = False) -> Side:
    """Our task under Lightning with its log and progress bar, as a run has them."""
    encoders, heads = make()
    loss = ContrastiveLoss(l2_normalize=True)

    def run(batches: Batches) -> None:
        task = ContrastivePretraining(encoders, heads=heads, optimizer=optimizer, loss=loss)
        fit(task, batches, [TimedProgressBar()], precision="bf16-mixed" if bf16 else "32-true")

    return run


def fit(task: LightningModule, batches: Batches, callbacks: list[Any], **arguments: Any) -> None:
    """One epoch under Lightning. The bar is drawn on what passes for a terminal."""
    bare = arguments.get("barebones", False)
    quiet = {} if bare else {"enable_checkpointing": False, "enable_model_summary": False}
    logger = None if bare else CSVLogger(tempfile.mkdtemp())
    with redirect_stdout(_Terminal()):
        trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, logger=logger, **quiet, **arguments)
        trainer.fit(task, train_dataloaders=batches)


class _Terminal(io.TextIOBase):
    """Takes what is drawn and throws it away."""

    encoding = "utf-8"  # pyright: ignore[reportAssignmentType]

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


ADAMW = partial(torch.optim.AdamW, lr=5e-4, weight_decay=0.2)
FUSED = partial(torch.optim.AdamW, lr=5e-4, weight_decay=0.2, fused=True)


def step(rounds: int, steps: int, profile: bool) -> None:
    """Samples per CPU-second."""
    whole, trimmed = make_batches(8, trimmed=False), make_batches(8, trimmed=True)
    shipped_bf16 = processor()[1]
    sides: Sides = {
        "bare loop fp32": (bare_loop(BareModel(*make_towers()), ADAMW), normalized(whole)),
        "open_clip fp32": (bare_loop(OpenCLIP(), ADAMW), normalized(whole)),
        "open_clip bf16": (bare_loop(OpenCLIP(), ADAMW, bf16=True), normalized(whole)),
        "open_clip fp32, fused, trimmed": (bare_loop(OpenCLIP(), FUSED), normalized(trimmed)),
        "ours fp32": (ours(make_towers, ADAMW), whole),
        "ours fp32, trimmed": (ours(make_towers, ADAMW), trimmed),
        "ours fp32, trimmed, fused": (ours(make_towers, FUSED), trimmed),
        "ours bf16, trimmed, fused": (ours(make_towers, FUSED, bf16=True), trimmed),
    }
    lengths = torch.cat([batch["text_attention_mask"].sum(1) for batch in whole]).float()
    longest = statistics.mean(batch["text"].shape[1] for batch in trimmed)
    print(f"captions: {lengths.mean():.1f} tokens on average; longest of a batch {longest:.1f} on average\n")
    seconds = in_turns(sides, rounds, steps, num_warmup=2)
    print(f"{'':<32}{'samples / CPU s':>16}{'/ open_clip fp32':>18}{'/ open_clip bf16':>18}")
    for name, value in seconds.items():
        ratios = (seconds[f"open_clip {kind}"] / value for kind in ("fp32", "bf16"))
        print(f"{name:<32}{BATCH_SIZE / value:>16.1f}" + "".join(f"{ratio:>17.2f}x" for ratio in ratios))
    shipped = "bf16" if shipped_bf16 else "fp32: this processor has no bfloat16 products, so `trainer=bf16` is not for it"
    print(f"\nThe shipped setting here is fused, trimmed and {shipped}.")


# The overhead of the loop


class Tower(nn.Module):
    """A linear encoder, so small that the loop is what is measured."""

    def __init__(self, modality: str) -> None:
        super().__init__()
        self.modality, self.linear = modality, nn.Linear(8, 8)

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor]:
        return (self.linear(inputs[self.modality]),)


def tiny_towers() -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
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


def overhead(rounds: int, steps: int, profile: bool) -> None:
    """CPU milliseconds that the loop adds to a step."""
    ids_B2 = torch.stack([torch.zeros(8, dtype=torch.long), torch.arange(8)], dim=1)
    batches = [{"rgb": torch.randn(8, 8), "text": torch.randn(8, 8), "example_ids": {"rgb": ids_B2, "text": ids_B2}}]
    sides: dict[str, Side] = {
        "bare loop": bare_loop(BareModel(*tiny_towers()), FUSED),
        "bare loop, our model and loss": bare_loop(OurModel(), FUSED),
        "Lightning, barebones": lambda timed: fit(DefaultTask(logs=False), timed, [], barebones=True),
        "Lightning, default log and bar": lambda timed: fit(DefaultTask(logs=True), timed, []),
        "ours, log and bar": ours(tiny_towers, FUSED),
    }
    if profile:
        profile_step(sides["ours, log and bar"], batches, steps)
        return
    seconds = in_turns({name: (side, batches) for name, side in sides.items()}, rounds, steps, num_warmup=50)
    print(f"{'':<32}{'ms / step':>12}{'above bare':>12}")
    for name, value in seconds.items():
        print(f"{name:<32}{1e3 * value:>12.3f}{1e3 * (value - seconds['bare loop']):>12.3f}")


def profile_step(side: Side, batches: Sequence[Batch], steps: int) -> None:
    """Where the CPU time of our loop goes, in microseconds a step (profiling itself makes it slower)."""
    profiler = cProfile.Profile(time.process_time)
    side(Batches(batches, 100))
    profiler.runcall(side, Batches(batches, steps))
    for order in ("tottime", "cumulative"):
        print(f"\nby {order}, microseconds a step")
        rows = pstats.Stats(profiler).stats.items()  # pyright: ignore[reportAttributeAccessIssue]
        column = 2 if order == "tottime" else 3
        for (file, line, name), row in sorted(rows, key=lambda item: -item[1][column])[:45]:
            where = "/".join(Path(file).parts[-3:])
            print(f"{1e6 * row[column] / steps:>10.1f}  x{row[1] / steps:<6.1f} {name}  {where}:{line}")


# The loader


class Pixels(Dataset[Tensor]):
    """Decoded images, 224 px; as bytes, or normalised by the worker."""

    def __init__(self, num: int, normalize: bool) -> None:
        self.images = torch.randint(0, 256, (64, 3, 224, 224), dtype=torch.uint8)
        self.num, self.normalize = num, normalize
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in MEAN_STD)

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index % 64].flip(-1) if index % 2 else self.images[index % 64].clone()
        return (image / 255 - self.mean) / self.std if self.normalize else image


def loader(rounds: int, steps: int, profile: bool) -> None:
    """Examples per second that leave the loader."""
    rates: dict[str, list[tuple[float, float]]] = {"float, normalised in the worker": [], "uint8": []}
    for _ in range(rounds):
        for record, normalize in zip(rates.values(), (True, False), strict=True):
            dataset = Pixels(steps * BATCH_SIZE, normalize)
            record.append(_read_all(DataLoader(dataset, BATCH_SIZE, num_workers=1), len(dataset)))
    medians = {name: [statistics.median(values) for values in zip(*record, strict=True)] for name, record in rates.items()}
    slow, fast = medians.values()
    print(f"{'':<34}{'examples / CPU s':>18}{'examples / s':>14}")
    for name, (per_cpu, per_wall) in medians.items():
        print(f"{name:<34}{per_cpu:>18.0f}{per_wall:>14.0f}")
    print(f"{'ratio':<34}{fast[0] / slow[0]:>17.2f}x{fast[1] / slow[1]:>13.2f}x")


def _read_all(batches: DataLoader, num: int) -> tuple[float, float]:
    def cpu() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    before, start = cpu(), time.perf_counter()
    for _ in batches:
        pass
    wall = time.perf_counter() - start
    return num / (cpu() - before), num / wall


def processor() -> tuple[str, bool]:
    """Name of the processor, and whether it multiplies bfloat16 itself."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    return name.group(1) if name else platform.processor(), bool(re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", text))


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's hints."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


MODES = {"step": (step, 5, 6), "overhead": (overhead, 9, 400), "loader": (loader, 5, 30)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--rounds", type=int, help="turns of every side")
    parser.add_argument("--steps", type=int, help="measured steps of a turn; a multiple of 50 for overhead")
    parser.add_argument("--profile", action="store_true", help="overhead only: show where our loop spends its time")
    arguments = parser.parse_args()
    run, rounds, steps = MODES[arguments.mode]
    torch.set_num_threads(1)
    name, has_bf16 = processor()
    print(
        f"{name}, {'has' if has_bf16 else 'no'} native bfloat16, {os.cpu_count()} cores, one thread used, {platform.platform()}"
    )
    packages = ("torch", "lightning", "open_clip_torch")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{package} {version(package)}" for package in packages))
    print("$ python " + " ".join(sys.argv) + "\n")
    with quiet():
        run(arguments.rounds or rounds, arguments.steps or steps, arguments.profile)


if __name__ == "__main__":
    main()
