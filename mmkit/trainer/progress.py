"""A progress display that costs a training step next to nothing."""

import math
import shutil
import time
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from mmkit.conf.store import external_store
from mmkit.trainer.pace import Pace, clock, total_steps
from mmkit.trainer.status_line import Status, StatusLine, is_possible
from mmkit.trainer.step_timing import num_samples


_SHORT_SECONDS = 0.5  # a shorter evaluation is not shown: the line would flicker
_EVERY_EPOCH_UNTIL = 10  # so many epochs get a line each, however short they are


@external_store(group="trainer/callbacks")
class TimedProgressBar(ProgressBar):
    """Where a run is: a line now and then, and on a terminal a status line below, redrawn a few times a second.

    Shown are the step, samples per second of all ranks, the time that is left, the training metrics that were logged last, the
    learning rate and the metric that is monitored. Nothing is computed for it, and no device is waited for. Evaluation has no
    lines of its own. Only the first rank shows anything.

    Args:
        interval: Shortest time between two redraws, in seconds.
        line_interval: Seconds between two lines; of the first epochs, each has one at its end.
    """

    def __init__(self, interval: float = 0.2, line_interval: float = 30.0) -> None:
        super().__init__()
        self.interval, self.line_interval = interval, line_interval
        self._enabled, self._in_terminal = True, False
        self._status_line: StatusLine | None = None
        self._due_at = self._line_due_at = 0.0
        self._pace = Pace()
        self._num_lines = self._num_batches = 0
        self._ended_epoch: int | None = None
        self._monitored = ""

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    @property
    def is_enabled(self) -> bool:
        return self._enabled

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._in_terminal = is_possible()  # now: the status line replaces standard output
        self._line_due_at = time.monotonic() + self.line_interval

    # Training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace, self._num_lines = Pace(), 0
        self._due_at = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._pace.num_samples += num_samples(batch)
        now = time.monotonic()
        if now >= self._due_at and self._enabled:
            self._due_at = now + self.interval
            self._show_training(trainer, pl_module, now)

    def _show_training(self, trainer: Trainer, pl_module: LightningModule, now: float) -> None:
        step, total = trainer.global_step, total_steps(trainer)
        self._pace.mark(now, step)
        facts = [*self._speed(trainer, now), *self._metrics(trainer, pl_module)]
        if self._in_terminal:
            self._draw(Status(_epoch(trainer), step, total, "step ", _by_importance(facts)))
        if now >= self._line_due_at:
            of = f"/{total:.0f}" if total is not None else ""
            self._print_line(_epoch(trainer), f"step {step}{of}", *facts)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ended_epoch = trainer.current_epoch  # printed later: the epoch's metrics are logged after this hook

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print_ended_epoch(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()
        self._print_ended_epoch(trainer, is_last=True)

    def _print_ended_epoch(self, trainer: Trainer, is_last: bool = False) -> None:
        epoch, self._ended_epoch = self._ended_epoch, None
        now = time.monotonic()
        is_due = is_last or self._num_lines < _EVERY_EPOCH_UNTIL or now >= self._line_due_at
        if epoch is None or not self._enabled or not is_due:
            return
        metrics = trainer.callback_metrics  # made anew at each look
        names = ["train/loss", "val/loss", _monitor(trainer), *sorted(name for name in metrics if name.startswith("train/"))]
        values = [f"{name} {metrics[name]:.4g}" for name in dict.fromkeys(names) if name in metrics]
        speed = [] if is_last or self._in_terminal else self._speed(trainer, now)  # the status line has it
        self._print_line(_epoch(trainer, epoch), f"step {trainer.global_step}", *speed, *values)

    def _print_line(self, *parts: str) -> None:
        """Print a line; on a terminal only as many parts of it as it has room for."""
        self._num_lines += 1
        self._line_due_at = time.monotonic() + self.line_interval
        width = shutil.get_terminal_size().columns if self._in_terminal else math.inf
        line = parts[0]
        for part in parts[1:]:
            if len(line) + 2 + len(part) < width:
                line += f"  {part}"
        print(line, flush=True)

    def _speed(self, trainer: Trainer, now: float) -> Iterator[str]:
        rate = self._pace.samples_per_second()
        if rate is not None:
            unit = "/s" if self._in_terminal else " samples/s"
            yield f"{rate * trainer.world_size:,.{2 if rate < 10 else 0}f}{unit}"
        left = self._pace.seconds_left(now, trainer.global_step, total_steps(trainer))
        if left:
            yield f"{clock(left)} left"

    def _metrics(self, trainer: Trainer, pl_module: LightningModule) -> Iterator[str]:
        for name, value in self.get_metrics(trainer, pl_module).items():
            yield f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        rate = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else None
        if isinstance(rate, float):  # a tensor may be on a device, and reading it would wait for that
            yield f"lr {rate:.3g}"
        if self._monitored:
            yield self._monitored

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, int | str | float | dict[str, float]]:
        return {name.partition("/")[2]: value for name, value in getattr(pl_module, "last_train_metrics", {}).items()}

    # Evaluation

    def on_validation_start(self, *args: Any) -> None:
        self._start_evaluation()
        self._pace.pause(time.monotonic())

    def on_test_start(self, *args: Any) -> None:
        self._start_evaluation()

    def on_predict_start(self, *args: Any) -> None:
        self._start_evaluation()

    def _start_evaluation(self) -> None:
        self._num_batches = 0
        self._due_at = time.monotonic() + _SHORT_SECONDS

    def on_validation_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.sanity_checking:
            self._evaluated("checking the validation", trainer.num_sanity_val_batches)
        else:
            label = f"{_epoch(trainer)} validation" if trainer.state.fn == "fit" else "validation"
            self._evaluated(label, trainer.num_val_batches)

    def on_test_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._evaluated("test", trainer.num_test_batches)

    def on_predict_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._evaluated("prediction", trainer.num_predict_batches)

    def _evaluated(self, label: str, totals: Any) -> None:
        self._num_batches += 1
        now = time.monotonic()
        if now >= self._due_at and self._enabled:
            self._due_at = now + self.interval
            total = sum(totals) if isinstance(totals, list) else totals
            if self._in_terminal:
                self._draw(Status(label, self._num_batches, total))
            if now >= self._line_due_at:
                self._print_line(f"{label} {self._num_batches}/{total}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace.go_on(time.monotonic())
        self._due_at = 0.0
        if trainer.state.fn != "fit":
            self._close()
        elif self._enabled and (value := trainer.callback_metrics.get(monitor := _monitor(trainer))) is not None:
            self._monitored = f"{monitor} {value:.4g}"  # read once, right after a validation, which ends in reading

    def on_test_end(self, *args: Any) -> None:
        self._close()

    def on_predict_end(self, *args: Any) -> None:
        self._close()

    # The status line

    def _draw(self, status: Status) -> None:
        if self._status_line is None:
            self._status_line = StatusLine()
        self._status_line.draw(status)

    def _close(self) -> None:
        line, self._status_line = self._status_line, None
        if line is not None:
            line.close()

    def on_exception(self, *args: Any) -> None:
        self._close()

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        self._close()


def _epoch(trainer: Trainer, epoch: int | None = None) -> str:
    of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    return f"epoch {(trainer.current_epoch if epoch is None else epoch) + 1}{of}"


def _monitor(trainer: Trainer) -> str:
    """The metric by which checkpoints are kept or training is stopped; by default the validation's loss."""
    monitors = (getattr(callback, "monitor", None) for callback in trainer.callbacks)  # pyright: ignore
    return next((monitor for monitor in monitors if isinstance(monitor, str)), "val/loss")


def _by_importance(facts: list[str]) -> list[str]:
    """The loss and the time that is left first, for a terminal may have no room for more."""
    return sorted(facts, key=lambda fact: not fact.startswith("loss ") and not fact.endswith(" left"))
