"""Contrastive pretraining of any number of modalities."""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_IDS_KEY
from mmkit.datasets.core import Modalities, find_matching_indices
from mmkit.models.multimodal_encoder import ModuleKeySpec, MultimodalEncoder
from mmkit.tasks.base import TrainingTask
from mmkit.tasks.hooks import EvaluationSpec


__all__ = ["AuxiliaryTaskSpec", "ContrastivePretraining", "EvaluationSpec", "LossPairSpec", "ModuleKeySpec"]


@dataclass
class LossPairSpec:
    """Two modalities whose embeddings the loss compares.

    Args:
        modalities: Names of the two modalities.
        weight: Factor of this pair's loss in the sum.
    """

    modalities: tuple[str, str]
    weight: float = 1.0


@dataclass
class AuxiliaryTaskSpec:
    """A further objective on one modality's encoder.

    Args:
        modality: Modality whose encoder the task shares.
        task: Partial of a training task, called with ``encoder=``. Its ``training_step`` returns the loss; its
            ``validation_step`` and ``test_step``, when it has them, are what counts in evaluation.
        loss_weight: Factor of its loss in the sum.
    """

    modality: str
    task: partial[TrainingTask]
    loss_weight: float = 1.0


@external_store(group="task")
class ContrastivePretraining(TrainingTask):
    """Pull the embeddings of one thing in several modalities together (CLIP, https://arxiv.org/abs/2103.00020).

    Each modality goes through its encoder, head and postprocessor; the loss compares the pairs of modalities.

    Args:
        encoders: Encoders by modality, or by key of ``modality_module_mapping``.
        heads: Heads by modality or key; a dict of modules is applied in its order.
        postprocessors: Postprocessors by modality or key, applied after the heads.
        modality_module_mapping: Modality to ``{encoder_key, head_key, postprocessor_key}``, for modules that are shared.
        optimizer: Partial of an optimizer.
        lr_scheduler: Partial of a scheduler, or ``{scheduler, extras}``.
        init_logit_scale: The factor on cosine similarities at the start; ``1 / 0.07`` as in CLIP.
        max_logit_scale: Its upper bound.
        learnable_logit_scale: Whether it is trained.
        loss: ``(embeddings, example_ids, logit_scale, modality_loss_pairs) -> Tensor``.
        modality_loss_pairs: Pairs ``{modalities, weight}`` to compare. Default: every pair of modalities.
        auxiliary_tasks: Further objectives ``{modality, task, loss_weight}`` by name.
        log_auxiliary_tasks_loss: Log each of their losses as ``<stage>/<name>_loss``.
        compute_validation_loss: Compute and log ``val/loss``.
        compute_test_loss: Compute and log ``test/loss``.
        evaluation_tasks: ``{task, run_on_validation, run_on_test}`` by name.

    Raises:
        ValueError: If modules, modalities and pairs do not fit together, or no loss is given where one is computed.
    """

    def __init__(
        self,
        encoders: dict[str, nn.Module],
        heads: dict[str, nn.Module | dict[str, nn.Module]] | None = None,
        postprocessors: dict[str, nn.Module | dict[str, nn.Module]] | None = None,
        modality_module_mapping: dict[str, Any] | None = None,
        optimizer: partial[torch.optim.Optimizer] | None = None,
        lr_scheduler: dict[str, Any] | partial[torch.optim.lr_scheduler.LRScheduler] | None = None,
        init_logit_scale: float = 1 / 0.07,
        max_logit_scale: float = 100,
        learnable_logit_scale: bool = True,
        loss: nn.Module | None = None,
        modality_loss_pairs: list[Any] | None = None,
        auxiliary_tasks: dict[str, Any] | None = None,
        log_auxiliary_tasks_loss: bool = False,
        compute_validation_loss: bool = True,
        compute_test_loss: bool = True,
        evaluation_tasks: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer=optimizer, loss_fn=loss, lr_scheduler=lr_scheduler, evaluation_tasks=evaluation_tasks)
        if loss is None and (compute_validation_loss or compute_test_loss):
            raise ValueError(
                "There is no loss. Name one in the defaults list (/modules/losses@task.loss: ContrastiveLoss), or set "
                "compute_validation_loss and compute_test_loss to false for an evaluation without."
            )
        self.model = MultimodalEncoder(encoders, heads, postprocessors, modality_module_mapping)
        self.modality_loss_pairs = _loss_pairs(modality_loss_pairs, self.model.modalities)
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(init_logit_scale)), requires_grad=learnable_logit_scale)
        self.max_logit_scale = max_logit_scale
        self.log_auxiliary_tasks_loss = log_auxiliary_tasks_loss
        self._computes_loss = {"train": True, "val": compute_validation_loss, "test": compute_test_loss}
        self._auxiliary_specs = {name: _auxiliary_spec(spec) for name, spec in (auxiliary_tasks or {}).items()}
        self.auxiliary_tasks = nn.ModuleDict({name: self._auxiliary_task(spec) for name, spec in self._auxiliary_specs.items()})

    def _auxiliary_task(self, spec: AuxiliaryTaskSpec) -> nn.Module:
        if spec.modality not in self.model.modalities:
            raise ValueError(
                f"An auxiliary task names the modality {spec.modality!r}. Known: {', '.join(self.model.modalities)}."
            )
        return spec.task(encoder=self.model.encoders[self.model.module_keys[spec.modality].encoder])

    def forward(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Embeddings ``{"<modality>_embedding": (B, D)}`` of the modalities found in ``inputs``."""
        return self.model(inputs)

    def encode(self, inputs: Mapping[str, Any], modality: str) -> Tensor:
        """Embeddings (B, D) of one modality."""
        return self.model.encode(inputs, modality)

    @property
    def logit_scale(self) -> Tensor:
        """The factor on cosine similarities, a scalar."""
        return self.log_logit_scale.exp()

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.loss_fn is None:
            raise ValueError("Training needs a loss. Name one in the defaults list: /modules/losses@task.loss: ContrastiveLoss.")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        losses = self._losses("train", batch, self.model(batch), batch_idx)
        if self.log_logit_scale.requires_grad:
            self.log_step({**losses, "logit_scale": self.log_logit_scale.detach().exp()})
        else:
            self.log_step(losses)
        return losses["loss"]

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._evaluate("test", batch, batch_idx)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.log_logit_scale.requires_grad:
            with torch.no_grad():  # clamping in forward instead would stop the gradient at the bound for good
                self.log_logit_scale.clamp_(max=math.log(self.max_logit_scale))

    def _evaluate(self, stage: str, batch: dict[str, Any], batch_idx: int) -> None:
        embeddings = self(batch)
        if self._computes_loss[stage] and (num_pairs := self._num_pairs(batch)):
            self.log_evaluation(self._losses(stage, batch, embeddings, batch_idx), weight=num_pairs)
        self.evaluate_batch(stage, {**batch, **embeddings}, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._warn_without_pairs("val")
        super().on_validation_epoch_end()

    def on_test_epoch_end(self) -> None:
        self._warn_without_pairs("test")
        super().on_test_epoch_end()

    def _warn_without_pairs(self, stage: str) -> None:
        if self._computes_loss[stage] and not self._evaluation_means and not self.trainer.sanity_checking:
            pairs = " or ".join("–".join(pair.modalities) for pair in self.modality_loss_pairs)
            warnings.warn(
                f"No example of this epoch has both modalities of a pair ({pairs}), so {stage}/loss is not logged. "
                f"Check the modalities that datasets.{stage} returns and their example ids.",
                stacklevel=2,
            )

    def _num_pairs(self, batch: dict[str, Any]) -> int:
        ids = batch[EXAMPLE_IDS_KEY]
        present = [pair.modalities for pair in self.modality_loss_pairs if all(name in ids for name in pair.modalities)]
        return sum(len(find_matching_indices(ids[a], ids[b])[0]) for a, b in present)

    def _losses(self, stage: str, batch: dict[str, Any], embeddings: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        contrastive = self.loss_fn(embeddings, batch[EXAMPLE_IDS_KEY], self.logit_scale, self.modality_loss_pairs)  # pyright: ignore[reportOptionalCall]
        auxiliary = self._auxiliary_losses(stage, batch, batch_idx)
        if not auxiliary:
            return {"loss": contrastive}
        total = contrastive + sum(self._auxiliary_specs[name].loss_weight * value for name, value in auxiliary.items())
        logged = {f"{name}_loss": value for name, value in auxiliary.items()} if self.log_auxiliary_tasks_loss else {}
        return {"loss": total, "contrastive_loss": contrastive, **logged}

    def _auxiliary_losses(self, stage: str, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        step = {"train": "training_step", "val": "validation_step", "test": "test_step"}[stage]
        losses = {}
        for name, task in self.auxiliary_tasks.items():
            loss = getattr(task, step)(batch, batch_idx)
            if loss is not None:
                losses[name] = loss
        return losses


def _loss_pairs(pairs: Sequence[LossPairSpec | Mapping[str, Any]] | None, modalities: list[str]) -> list[LossPairSpec]:
    if pairs is None:
        return [LossPairSpec(pair) for pair in itertools.combinations(modalities, 2)]
    specs = [pair if isinstance(pair, LossPairSpec) else LossPairSpec(**pair) for pair in pairs]
    for spec in specs:
        for name in spec.modalities:
            Modalities.get_modality(name)
            if name not in modalities:
                raise ValueError(
                    f"modality_loss_pairs names {name!r}, which has no encoder. Encoders exist for: {', '.join(modalities)}."
                )
    return specs


def _auxiliary_spec(spec: AuxiliaryTaskSpec | Mapping[str, Any]) -> AuxiliaryTaskSpec:
    return spec if isinstance(spec, AuxiliaryTaskSpec) else AuxiliaryTaskSpec(**spec)
