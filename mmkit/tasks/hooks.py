"""Evaluation tasks: what happens at which point of an evaluation epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn


if TYPE_CHECKING:
    from mmkit.tasks.base import TrainingTask


class EvaluationHooks(nn.Module):
    """Base of evaluation tasks that need no training of their own.

    A training task calls the hooks in this order, once per validation or test epoch:

    1. ``on_evaluation_epoch_start`` before the first batch: reset, encode class prompts.
    2. ``evaluation_step`` for every batch, under inference mode.
    3. ``on_evaluation_epoch_end`` after the last batch: returns the metrics.

    Metrics kept as submodules follow the task to its device and into its checkpoints. An evaluation changes nothing that
    training sees: no parameters, no gradients, no random state.
    """

    def on_evaluation_epoch_start(self, pl_module: "TrainingTask") -> None:
        """Prepare for an epoch.

        Args:
            pl_module: The task whose model is evaluated.
        """

    def evaluation_step(self, pl_module: "TrainingTask", batch: dict[str, Any], batch_idx: int) -> None:
        """Take in one batch.

        Args:
            pl_module: The task whose model is evaluated.
            batch: The batch; every modality ``m`` that the model embeds has its ``m_embedding`` (B_m, D) there, too.
            batch_idx: Number of the batch in this epoch.
        """

    def on_evaluation_epoch_end(self, pl_module: "TrainingTask") -> Mapping[str, float | Tensor] | None:
        """Finish an epoch.

        Returns:
            Metrics by name. The training task logs each as ``<stage>/<evaluation name>/<metric>``.
        """
        return None


@dataclass
class EvaluationSpec:
    """An evaluation task and when it runs.

    Args:
        task: The evaluation task.
        run_on_validation: Run it in every validation epoch.
        run_on_test: Run it in the test epoch.
    """

    task: EvaluationHooks
    run_on_validation: bool = True
    run_on_test: bool = True

    def runs_in(self, stage: str) -> bool:
        return self.run_on_test if stage == "test" else self.run_on_validation
