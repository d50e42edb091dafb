"""The sides of the training benchmarks: a bare loop, open_clip's model, and our task under Lightning."""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from typing import Any


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from turns import Batch, Batches, Side

from mmkit.modules.losses import ContrastiveLoss
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining
from mmkit.trainer.progress import TimedProgressBar


# Shapes: B batch, D embedding dim.
Towers = tuple[dict[str, nn.Module], dict[str, nn.Module]]  # encoders and heads by modality
ADAMW = partial(torch.optim.AdamW, lr=5e-4, weight_decay=0.2)
FUSED = partial(torch.optim.AdamW, lr=5e-4, weight_decay=0.2, fused=True)


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


def ours(make: Callable[[], Towers], optimizer: partial[torch.optim.Optimizer], bf16: bool = False) -> Side:
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
    logger = None if bare else [CSVLogger(tempfile.mkdtemp()), *arguments.pop("loggers", [])]
    with redirect_stdout(_Terminal()):
        trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, logger=logger, **{**quiet, **arguments})
        trainer.fit(task, train_dataloaders=batches)


class _Terminal(io.TextIOBase):
    """Takes what is drawn and throws it away."""

    encoding = "utf-8"  # pyright: ignore[reportAssignmentType]

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's hints."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
