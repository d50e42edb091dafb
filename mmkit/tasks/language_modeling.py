"""What causal and masked language modelling share: the loss over tokens, and its metrics."""

from abc import abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.constants import IGNORED_LABEL
from mmkit.modules.metrics.token_prediction import TokenPrediction, TokenSums, token_ratios, token_sums
from mmkit.tasks.compiling import compiled_inside, never_compiled
from mmkit.tasks.sequence_model import SequenceModelTask


# Shapes: B texts, L tokens, V ids of the vocabulary.
class LanguageModeling(SequenceModelTask):
    """Base of tasks that predict tokens.

    The loss is the mean over the predicted tokens of a batch. Logged as ``<stage>/<name>``: ``loss``, ``perplexity``,
    ``accuracy`` and, where bytes are known, ``bits_per_byte``, each a ratio of sums over all tokens since the last time; in
    evaluation over all ranks.

    Args:
        model: See :class:`SequenceModelTask`; its logits are (B, L, V).
        modality: See :class:`SequenceModelTask`.
        optimizer: Partial of an optimizer.
        lr_scheduler: Partial of a scheduler, or ``{scheduler, extras}``.
        evaluation_tasks: ``{task, run_on_validation, run_on_test}`` by name.
        gradient_checkpointing: See :class:`SequenceModelTask`.
        label_smoothing: Share of the target that is spread over the vocabulary, in the loss but not in perplexity.
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
    ) -> None:
        super().__init__(model, modality, optimizer, lr_scheduler, evaluation_tasks, gradient_checkpointing)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}.")
        self.label_smoothing = label_smoothing
        self.evaluation_metric = TokenPrediction(label_smoothing)

    @abstractmethod
    def labels(self, batch: dict[str, Any]) -> Tensor:
        """The id (B, L) that the model should predict at every position, -100 where none is."""

    def given_labels(self, batch: dict[str, Any]) -> Tensor:
        """The batch's target (B, L), with -100 on padding.

        Raises:
            ValueError: If it is not shaped like the ids.
        """
        labels_BL, ids_BL = batch[self.target_key], self.read(batch)
        if labels_BL.shape != ids_BL.shape:
            raise ValueError(
                f"{self.target_key} has the shape {tuple(labels_BL.shape)}, but {self.modality} has {tuple(ids_BL.shape)}: "
                f"{type(self).__name__} takes one id per token, -100 where nothing is predicted. Classes of whole texts are for "
                "SequenceClassification."
            )
        return without_padding(labels_BL, batch.get(self.mask_key))

    def num_bytes(self, batch: dict[str, Any], labels_BL: Tensor) -> Tensor | None:
        """Bytes of text that the predicted tokens of a batch stand for; None if that is unknown, or means nothing."""
        return None

    @compiled_inside
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss, sums = self._loss(batch)
        self.log_step(sums)
        return loss

    def _loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and what is logged: the sums of :class:`TokenSums`, and ``num_bytes`` where it is known."""
        labels_BL = self.labels(batch)
        sums = token_sums(self(batch), labels_BL, self.label_smoothing)
        num_bytes = self.num_bytes(batch, labels_BL)
        known = {} if num_bytes is None else {"num_bytes": num_bytes}
        return mean_loss(sums), {**sums._asdict(), "loss": sums.loss.detach(), **known}

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        return token_ratios(means) if means else {}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("test", batch, batch_idx)

    @compiled_inside
    def _evaluate(self, stage: str, batch: dict[str, Any], batch_idx: int) -> None:
        labels_BL = self.labels(batch)
        num_bytes = self.num_bytes(batch, labels_BL)
        self._update_metric(self(batch), labels_BL, 0 if num_bytes is None else num_bytes)
        self.evaluate_batch(stage, batch, batch_idx)

    @never_compiled  # torchmetrics counts its updates, and every count would be compiled anew
    def _update_metric(self, logits_BLV: Tensor, labels_BL: Tensor, num_bytes: Tensor | int) -> None:
        self.evaluation_metric.update(logits_BLV, labels_BL, num_bytes)

    def _start_evaluation(self, stage: str) -> None:
        self.evaluation_metric.reset()
        super()._start_evaluation(stage)

    def _end_evaluation(self, stage: str) -> None:
        super()._end_evaluation(stage)
        if not self.trainer.sanity_checking and self.evaluation_metric.update_called:
            self.log_dict({f"{stage}/{name}": value for name, value in self.evaluation_metric.compute().items()})


def mean_loss(sums: TokenSums) -> Tensor:
    """The mean over predicted tokens; zero, with zero gradients, without any."""
    return sums.loss / sums.num_tokens.clamp(min=1)


def without_padding(labels_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
    """Labels with :data:`IGNORED_LABEL` on padding, where the mask is 0."""
    return labels_BL if mask_BL is None else labels_BL.masked_fill(~mask_BL.bool(), IGNORED_LABEL)
