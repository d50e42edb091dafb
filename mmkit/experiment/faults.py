"""NaN and infinity in training: found soon, never saved, and written down with the examples they came from."""

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm

from mmkit.constants import EXAMPLE_IDS_KEY
from mmkit.errors import NonFiniteError
from mmkit.experiment.stops import StopReason, Stops


@dataclass
class _Batch:
    step: int
    epoch: int
    batch_index: int
    example_ids: Mapping[str, Tensor]
    loss: float = 0.0

    def as_json(self) -> dict[str, Any]:
        ids = {name: ids.tolist() for name, ids in self.example_ids.items()}
        loss = self.loss if math.isfinite(self.loss) else str(self.loss)  # JSON has no NaN
        return {"step": self.step, "epoch": self.epoch, "batch_index": self.batch_index, "loss": loss, "example_ids": ids}


class NonFiniteGuard(Callback):
    """Stop a run whose loss or parameters are NaN or infinite.

    Every loss is copied to a small tensor on its device, and that tensor is read every few batches: the device is not waited
    for at each. Whoever saves calls ``check_now`` first, which looks at all trained parameters, too. What is found goes to
    ``nonfinite.json`` (on further ranks ``nonfinite-rank-N.json``): steps, losses, the examples of the batches, and the names of
    the parameters and gradients that are not finite.

    With one rank the error is raised where the fault is found. With several, the rank requests a stop, and all of them leave at
    the next batch boundary.

    Args:
        directory: Where the file is written; the trainer's root directory if not given.
        stops: Through which ranks agree; needed only if there are several.
        every_n_steps: Batches between two reads.
    """

    def __init__(self, directory: str | Path | None = None, stops: Stops | None = None, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps={every_n_steps}: it is a number of batches, at least 1.")
        self.every_n_steps, self.directory, self.stops = every_n_steps, directory, stops
        self._losses: Tensor | None = None
        self._slots: tuple[Tensor, ...] = ()
        self._count = 0
        self._batches: deque[_Batch] = deque(maxlen=every_n_steps + 1)  # one more: the batch before the first bad one
        self._step = 0
        self._is_faulty = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._losses, self._count, self._step, self._is_faulty = None, 0, trainer.global_step, False
        self._batches.clear()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._take(outputs.get("loss") if isinstance(outputs, Mapping) else outputs)
        step = trainer.global_step
        ids = batch.get(EXAMPLE_IDS_KEY, {}) if isinstance(batch, Mapping) else {}
        self._batches.append(_Batch(step if step != self._step else step + 1, trainer.current_epoch, batch_idx, ids))
        self._step = step
        self._count += 1
        if self._count == self.every_n_steps:
            self._read(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._read(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check_now(trainer, pl_module)

    def check_now(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the latest losses and at every trained parameter. With several ranks, all of them call it.

        Raises:
            NonFiniteError: Something is not finite, on this rank or another.
        """
        self._read(trainer, pl_module)
        if not self._is_faulty and not all_finite(p.detach() for p in pl_module.parameters() if p.requires_grad):
            self._fault(trainer, pl_module, [])
        if self.stops is not None and trainer.world_size > 1 and self.stops.agreed() is StopReason.NON_FINITE:
            raise self.stops.error()

    def _take(self, loss: Any) -> None:
        """Copy a loss to the next slot; a step without any leaves a zero."""
        value = loss.detach().sum() if isinstance(loss, Tensor) else torch.tensor(0.0)
        if self._losses is None or (self._losses.device != value.device and isinstance(loss, Tensor)):
            self._losses = torch.zeros(self.every_n_steps, dtype=value.dtype, device=value.device)
            self._slots = self._losses.unbind()
        self._slots[self._count].copy_(value)

    def _read(self, trainer: Trainer, pl_module: LightningModule) -> None:
        count, self._count = self._count, 0
        if self._losses is None or count == 0 or self._is_faulty:
            return
        read = list(self._batches)[-count:]
        for batch, loss in zip(read, self._losses[:count].tolist(), strict=True):
            batch.loss = loss
        bad = [batch for batch in read if not math.isfinite(batch.loss)]
        if bad:
            self._fault(trainer, pl_module, bad)

    def _fault(self, trainer: Trainer, pl_module: LightningModule, bad: list[_Batch]) -> None:
        """Write down what is wrong; then raise, or request a stop of all ranks."""
        self._is_faulty = True
        batches = list(self._batches)
        before = batches[: batches.index(bad[0])] if bad else batches
        named = {name: parameter for name, parameter in pl_module.named_parameters() if parameter.requires_grad}
        gradients = {name: parameter.grad for name, parameter in named.items() if parameter.grad is not None}
        facts = {
            "rank": trainer.global_rank,
            "batches": [batch.as_json() for batch in bad],
            "batch_before": before[-1].as_json() if before else None,
            "parameters": not_finite(named),
            "gradients": not_finite(gradients),
        }
        path = Path(self.directory or trainer.default_root_dir) / _file_name(trainer.global_rank)
        path.write_text(json.dumps(facts) + "\n")
        error = NonFiniteError(_message(facts, path))
        if trainer.world_size == 1 or self.stops is None:
            raise error
        self.stops.request(StopReason.NON_FINITE, error)


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor holds a NaN or an infinity; the device is waited for once."""
    tensors = [tensor for tensor in tensors if tensor.numel()]
    # NaN and infinity survive a sum of squares, which takes an eighth of the time. If it overflows, every value is looked at.
    return math.isfinite(get_total_norm(tensors).item()) or all(bool(tensor.isfinite().all()) for tensor in tensors)


def not_finite(named: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold a NaN or an infinity."""
    return [name for name, tensor in named.items() if not tensor.detach().isfinite().all()]


def _file_name(rank: int) -> str:
    return f"nonfinite-rank-{rank}.json" if rank else "nonfinite.json"


def _message(facts: Mapping[str, Any], path: Path) -> str:
    if facts["batches"]:
        first = facts["batches"][0]
        what = f"The loss is {first['loss']} in step {first['step']} (epoch {first['epoch']}, batch {first['batch_index']})"
    else:
        before, names = facts["batch_before"], facts["parameters"]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        after = f" after step {before['step']}" if before else ""
        what = f"Not finite{after}: {', '.join(names[:3])}{more}; the losses are finite"
    return (
        f"{what}. {path} names the examples, parameters and gradients. No later state was saved; the last checkpoint is good. "
        "Try a smaller learning rate, trainer.gradient_clip_val, or a longer warm-up; look at the examples."
    )
