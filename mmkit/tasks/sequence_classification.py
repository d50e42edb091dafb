"""Sequence classification: one class, several labels, or numbers, for a whole sequence."""

import warnings
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
from torchmetrics.classification import MultilabelAccuracy, MultilabelExactMatch, MultilabelF1Score

from mmkit.conf import external_store
from mmkit.modules.metrics import TopKAccuracy
from mmkit.tasks.compiling import compiled_inside, never_compiled
from mmkit.tasks.sequence_model import SequenceModelTask


CLASSES, LABELS, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
PROBLEM_TYPES = (CLASSES, LABELS, REGRESSION)


# Shapes: B examples, C classes, labels or numbers.
@external_store(group="task")
class SequenceClassification(SequenceModelTask):
    """Classify whole sequences, with any Hugging Face-style model that has such a head.

    What is predicted is the model's ``config.problem_type``, or ``problem_type`` here:

    - ``single_label_classification`` (default): targets are classes (B,), the loss is cross entropy. Logs ``accuracy``,
      ``macro_accuracy`` (the mean over classes) and ``top<k>_accuracy`` for other values of k.
    - ``multi_label_classification``: targets are 0 or 1, (B, C); the loss is binary cross entropy. Logs ``accuracy`` (of all
      labels), ``exact_match`` (share of examples with every label right) and ``f1`` (over all labels).
    - ``regression`` (default with one label): targets are numbers (B,) or (B, C); the loss is the squared error. Logs ``mse``
      and ``mae``.

    The keys are ``<stage>/loss`` and ``val/…``, ``test/…`` of the metrics, over all examples of an epoch and of all ranks;
    ``train/accuracy`` for single labels.

    Args:
        model: Returns ``logits`` (B, C); has a ``config`` with ``num_labels``, and perhaps ``problem_type``.
        modality: The modality that is read: ids (B, L), or features (B, L, D) of the model's embedding size.
        optimizer: Partial of an optimizer.
        lr_scheduler: Partial of a scheduler, or ``{scheduler, extras}``.
        evaluation_tasks: ``{task, run_on_validation, run_on_test}`` by name.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        label_smoothing: Share of the target that is spread over the classes (or drawn to 1/2, for several labels).
        problem_type: One of the kinds above. Default: what the model says.
        top_k: The values of k of the accuracy. Default: 1.
        target_key: Key of the targets. Default: the modality's target, e.g. ``text_target``.

    Raises:
        ValueError: If the kind is unknown, or the model does not say how many labels it has.
    """

    def __init__(
        self,
        model: nn.Module,
        modality: str = "text",
        optimizer: partial[torch.optim.Optimizer] | None = None,
        lr_scheduler: dict[str, Any] | partial[torch.optim.lr_scheduler.LRScheduler] | None = None,
        evaluation_tasks: dict[str, Any] | None = None,
        gradient_checkpointing: bool = False,
        label_smoothing: float = 0.0,
        problem_type: str | None = None,
        top_k: list[int] | None = None,
        target_key: str | None = None,
    ) -> None:
        super().__init__(model, modality, optimizer, lr_scheduler, evaluation_tasks, gradient_checkpointing)
        num_labels = getattr(getattr(model, "config", None), "num_labels", None)
        if num_labels is None:
            raise ValueError(f"{type(model).__name__} has no config.num_labels. Give a model for sequence classification.")
        self.problem_type = _problem_type(problem_type, model, num_labels)
        if label_smoothing and self.problem_type == REGRESSION:
            warnings.warn(f"label_smoothing={label_smoothing} has no effect on a regression.", stacklevel=2)
        self.label_smoothing = label_smoothing
        self.target_key = target_key or self.target_key
        self.evaluation_metrics = nn.ModuleDict(_metrics(self.problem_type, num_labels, top_k or [1]))

    @compiled_inside
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        logits_BC = self(batch)
        target = self._target(batch, logits_BC)
        loss = self._loss(logits_BC, target)
        accuracy = {"accuracy": _accuracy(logits_BC, target)} if self.problem_type == CLASSES else {}
        self.log_step({"loss": loss, **accuracy}, weight=len(logits_BC))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("test", batch, batch_idx)

    @compiled_inside
    def _evaluate(self, stage: str, batch: dict[str, Any], batch_idx: int) -> None:
        logits_BC = self(batch)
        target = self._target(batch, logits_BC)
        self.log_evaluation({"loss": self._loss(logits_BC, target)}, weight=len(logits_BC))
        self._update_metrics(logits_BC.float(), target)
        self.evaluate_batch(stage, batch, batch_idx)

    @never_compiled  # torchmetrics counts its updates, and every count would be compiled anew
    def _update_metrics(self, logits_BC: Tensor, target: Tensor) -> None:
        several = self.problem_type == LABELS  # decided here: torchmetrics takes logits in [0, 1] for probabilities
        guess, right = ((logits_BC > 0).int(), target.int()) if several else (logits_BC, target)
        for metric in self.evaluation_metrics.values():
            metric.update(guess, right)  # pyright: ignore[reportCallIssue]

    def _start_evaluation(self, stage: str) -> None:
        for metric in self.evaluation_metrics.values():
            metric.reset()  # pyright: ignore[reportCallIssue]
        super()._start_evaluation(stage)

    def _end_evaluation(self, stage: str) -> None:
        super()._end_evaluation(stage)
        if self.trainer.sanity_checking:
            return
        for name, metric in self.evaluation_metrics.items():
            value = metric.compute() if metric.update_called else {}  # pyright: ignore[reportCallIssue]
            values = value if isinstance(value, dict) else {name: value}
            self.log_dict({f"{stage}/{_LOGGED_AS.get(key, key)}": number for key, number in values.items()})

    @never_compiled
    def _target(self, batch: dict[str, Any], logits_BC: Tensor) -> Tensor:
        """Targets in the shape and type of the loss: classes (B,), or (B, C) like the logits."""
        if logits_BC.dim() != 2:
            raise ValueError(
                f"The model gives {tuple(logits_BC.shape)}; one row of scores for each sequence is needed, (B, C). "
                "Take a model with a head for sequence classification, e.g. /models@task.model: MegaForSequenceClassification."
            )
        if self.target_key not in batch:
            raise ValueError(
                f"There is no target {self.target_key!r} in the batch, which has: {', '.join(batch)}. Set task.target_key."
            )
        target = batch[self.target_key]
        if self.problem_type == CLASSES:
            _check_classes(target, logits_BC.shape[-1], self.target_key)
            return target.long()
        if target.numel() != logits_BC.numel():
            raise ValueError(
                f"{self.target_key} has the shape {tuple(target.shape)}, but the model gives {tuple(logits_BC.shape)} for "
                f"{self.problem_type}. Set num_labels of the model, or task.problem_type."
            )
        return target.view_as(logits_BC).float()

    def _loss(self, logits_BC: Tensor, target: Tensor) -> Tensor:
        logits_BC = logits_BC.float()
        if self.problem_type == CLASSES:
            return F.cross_entropy(logits_BC, target, label_smoothing=self.label_smoothing)
        if self.problem_type == LABELS:
            smooth_BC = target * (1 - self.label_smoothing) + self.label_smoothing / 2
            return F.binary_cross_entropy_with_logits(logits_BC, smooth_BC)
        return F.mse_loss(logits_BC, target)


_LOGGED_AS = {"top1_accuracy": "accuracy"}


def _check_classes(class_B: Tensor, num_labels: int, key: str) -> None:
    """Refuse classes that the model has no score for; on a GPU it is left to the loss, because looking would wait for it."""
    if class_B.device.type == "cpu" and class_B.numel() and (highest := int(class_B.max())) >= num_labels:
        raise ValueError(
            f"{key} holds the class {highest}, but the model has scores for {num_labels}. "
            f"Set task.model.num_labels={highest + 1}."
        )


def _accuracy(logits_BC: Tensor, class_B: Tensor) -> Tensor:
    return (logits_BC.detach().argmax(-1) == class_B).float().mean()


def _problem_type(given: str | None, model: Any, num_labels: int) -> str:
    default = REGRESSION if num_labels == 1 else CLASSES
    problem_type = given or getattr(model.config, "problem_type", None) or default
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"Unknown problem_type {problem_type!r}. Allowed: {', '.join(PROBLEM_TYPES)}.")
    return problem_type


def _metrics(problem_type: str, num_labels: int, top_k: list[int]) -> dict[str, Metric]:
    if problem_type == CLASSES:
        return {"classes": TopKAccuracy(num_labels, top_k)}
    if problem_type == LABELS:
        return {
            "accuracy": MultilabelAccuracy(num_labels, average="micro"),
            "exact_match": MultilabelExactMatch(num_labels),
            "f1": MultilabelF1Score(num_labels, average="micro"),
        }
    return {"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}
