"""The training task: optimizers, logging and the driving of evaluation tasks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from mmkit.archive.restorable import Restorable
from mmkit.tasks.compiling import never_compiled
from mmkit.tasks.hooks import EvaluationHooks, EvaluationSpec
from mmkit.tasks.parameter_groups import weight_decay_groups
from mmkit.tasks.running_mean import RunningMeans


_MEANS_KEY = "training_means"
_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})


class TrainingTask(Restorable, LightningModule):
    """Base of everything that trains.

    A subclass defines the model and ``training_step``; for validation and testing it defines ``validation_step`` and
    ``test_step``, which call ``evaluate_batch`` when it takes evaluation tasks.

    Args:
        optimizer: Partial of a ``torch.optim.Optimizer``, called with the parameter groups. Parameters with fewer than two
            dimensions are not decayed. Needed for training only.
        loss_fn: The loss, kept as ``self.loss_fn``.
        lr_scheduler: Partial of a scheduler, called with the optimizer; or ``{"scheduler": partial, "extras": {...}}`` where
            the extras are Lightning's: ``interval``, ``frequency``, ``monitor``, ``strict``, ``name``.
        evaluation_tasks: Evaluation tasks by name; the name is part of every logged key. Those set to None are left out.
    """

    def __init__(
        self,
        optimizer: partial[torch.optim.Optimizer] | None = None,
        loss_fn: nn.Module | None = None,
        lr_scheduler: dict[str, Any] | partial[torch.optim.lr_scheduler.LRScheduler] | None = None,
        evaluation_tasks: Mapping[str, EvaluationSpec | Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.lr_scheduler = _check_lr_scheduler(lr_scheduler)
        specs = {name: _evaluation_spec(name, spec) for name, spec in (evaluation_tasks or {}).items() if spec is not None}
        self.evaluation_tasks = nn.ModuleDict({name: spec.task for name, spec in specs.items()})
        self._evaluation_specs = specs
        self.last_train_metrics: dict[str, float] = {}
        self._window_means = RunningMeans()
        self._train_means = RunningMeans()
        self._evaluation_means = RunningMeans()
        self._logged_step = 0

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets plain attributes of the module about forty times a step, and torch looks through parameters, buffers
        # and submodules for each of them: a quarter of a millisecond.
        if name in self.__dict__ and type(value) in _PLAIN_TYPES:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def encode(self, inputs: Mapping[str, Any], modality: str) -> Tensor:
        """Embed one modality; tasks define it whose evaluation tasks embed something beside the batch, e.g. class names.

        Args:
            inputs: Tensors by name; those of ``modality`` are read.
            modality: Name of the modality.

        Returns:
            Embeddings of shape (B, D).
        """
        raise NotImplementedError(f"{type(self).__name__} embeds no single modality. Define encode(inputs, modality) in it.")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint be evaluated with other evaluation tasks than it was trained with."""
        self.adapt_state(checkpoint["state_dict"])
        if self._trainer is not None and self.trainer.training and (means := checkpoint.get(_MEANS_KEY)):
            self._window_means.load_state_dict(means["window"])
            self._train_means.load_state_dict(means["epoch"])
            self._logged_step = means["logged_step"]

    def adapt_state(self, state: dict[str, Tensor]) -> None:
        prefix = "evaluation_tasks."
        own = {name: value for name, value in self.state_dict().items() if name.startswith(prefix)}
        for name in [name for name in state if name.startswith(prefix) and name not in own]:
            del state[name]
        state.update({name: value for name, value in own.items() if name not in state})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the means that are not logged yet, so that a resumed run logs what the uninterrupted one would."""
        checkpoint[_MEANS_KEY] = {
            "window": self._window_means.state_dict(),
            "epoch": self._train_means.state_dict(),
            "logged_step": self._logged_step,
        }

    # Optimization

    def configure_optimizers(self) -> OptimizerLRScheduler:
        if self.optimizer is None:
            raise ValueError(
                f"{type(self).__name__} has no optimizer. Name one in the defaults list, e.g. "
                "/modules/optimizers@task.optimizer: AdamW."
            )
        optimizer = self.optimizer(weight_decay_groups(self, self.optimizer.keywords.get("weight_decay")))
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._scheduler_config(optimizer)}  # pyright: ignore[reportReturnType]

    def _scheduler_config(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        if not isinstance(self.lr_scheduler, Mapping):
            return {"scheduler": self.lr_scheduler(optimizer)}  # pyright: ignore[reportOptionalCall]
        return {"scheduler": self.lr_scheduler["scheduler"](optimizer), **(self.lr_scheduler.get("extras") or {})}

    # Logging

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of the means of training values; for tasks that log a ratio or a function of means, not these.

        Args:
            means: The mean of every value that ``log_step`` took in; may be empty.
        """
        return means

    @never_compiled
    def log_step(self, values: Mapping[str, Tensor], weight: float = 1) -> None:
        """Take in the values of one training step.

        They are added up on their device. Every ``trainer.log_every_n_steps`` optimizer steps the loggers get the mean since
        the last time as ``train/<name>`` (only then is the device waited for), and at the end of the epoch callbacks see the
        epoch's mean under the same key.

        Args:
            values: Scalars by name.
            weight: Weight of this step in the means.
        """
        step, every = self.global_step, self.trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if step != self._logged_step and every and step % every == 0:
            self._write_window(step)
        self._window_means.update(values, weight)

    def _write_window(self, step: int) -> None:
        self._logged_step = step
        self._train_means.add(self._window_means)
        means = self.summarize(self._window_means.pop())
        self.last_train_metrics = {f"train/{name}": value for name, value in means.items()}
        for logger in self.trainer.loggers if self.last_train_metrics else []:
            logger.log_metrics(self.last_train_metrics, step=step)

    def on_train_epoch_end(self) -> None:
        self._write_window(self.global_step)
        means = self.summarize(self._train_means.pop())
        self.log_dict({f"train/{name}": value for name, value in means.items()}, logger=False, sync_dist=True)

    @never_compiled
    def log_evaluation(self, values: Mapping[str, Tensor], weight: float) -> None:
        """Take in the values of one evaluation batch; their mean is logged as ``<stage>/<name>`` when the epoch ends.

        Args:
            values: Scalars by name.
            weight: Weight of this batch in the mean; a value whose weights add up to zero is not logged at all.
        """
        self._evaluation_means.update(values, weight)

    # Evaluation: Lightning's hooks on the left, the evaluation tasks' on the right

    def on_validation_epoch_start(self) -> None:
        self._start_evaluation("val")

    def on_test_epoch_start(self) -> None:
        self._start_evaluation("test")

    def on_validation_epoch_end(self) -> None:
        self._end_evaluation("val")

    def on_test_epoch_end(self) -> None:
        self._end_evaluation("test")

    def _evaluations(self, stage: str) -> dict[str, EvaluationHooks]:
        return {name: spec.task for name, spec in self._evaluation_specs.items() if spec.runs_in(stage)}

    def _start_evaluation(self, stage: str) -> None:
        self._evaluation_means.pop()
        for task in self._evaluations(stage).values():
            task.on_evaluation_epoch_start(self)

    @never_compiled
    def evaluate_batch(self, stage: str, batch: dict[str, Any], batch_idx: int) -> None:
        """Hand one batch to the evaluation tasks of a stage.

        Args:
            stage: ``"val"`` or ``"test"``.
            batch: The batch, with the model's embeddings in it.
            batch_idx: Number of the batch in this epoch.
        """
        for task in self._evaluations(stage).values():
            task.evaluation_step(self, batch, batch_idx)

    def _end_evaluation(self, stage: str) -> None:
        if self.trainer.sanity_checking:  # two batches say nothing, and may be fewer than top_k
            return
        self.log_dict({f"{stage}/{name}": value for name, value in self._evaluation_means.pop().items()}, sync_dist=True)
        for name, task in self._evaluations(stage).items():
            metrics = task.on_evaluation_epoch_end(self) or {}
            self.log_dict({f"{stage}/{name}/{metric}": value for metric, value in metrics.items()})


def _check_lr_scheduler(lr_scheduler: Any) -> Any:
    if not isinstance(lr_scheduler, Mapping):
        return lr_scheduler
    unknown = set(lr_scheduler) - {"scheduler", "extras"}
    if unknown or "scheduler" not in lr_scheduler:
        raise ValueError(
            f"lr_scheduler has the keys {sorted(lr_scheduler)}; it takes a partial, or `scheduler` (a partial) with optional "
            "`extras` (Lightning's interval, frequency, monitor, strict, name)."
        )
    return dict(lr_scheduler)


def _evaluation_spec(name: str, spec: EvaluationSpec | Mapping[str, Any]) -> EvaluationSpec:
    if isinstance(spec, Mapping):
        spec = EvaluationSpec(**spec)
    if not isinstance(spec.task, EvaluationHooks):
        raise TypeError(
            f"evaluation_tasks.{name}.task is a {type(spec.task).__name__}; it must extend mmkit.tasks.hooks.EvaluationHooks."
        )
    return spec
