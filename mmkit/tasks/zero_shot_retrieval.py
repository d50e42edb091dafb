"""Retrieval across modalities."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_IDS_KEY
from mmkit.datasets.core import Modalities
from mmkit.modules.metrics import (
    RetrievalRanks,
    chance_hit_rate,
    mean_average_precision,
    median_rank,
    recall_at_k,
    retrieval_ranks,
)
from mmkit.modules.metrics.collected_rows import CollectedRows
from mmkit.tasks.hooks import EvaluationHooks


@dataclass
class RetrievalTaskSpec:
    """One direction of retrieval.

    Args:
        query_modality: Modality of the queries.
        target_modality: Modality of the gallery.
        top_k: The values of k of recall@k.
    """

    query_modality: str
    target_modality: str
    top_k: list[int]

    @property
    def name(self) -> str:
        return f"{self.query_modality}_to_{self.target_modality}"


@external_store(group="eval_task")
class ZeroShotCrossModalRetrieval(EvaluationHooks):
    """Search the examples of one modality with those of another, over all embeddings of the epoch.

    A target is right if it has the query's example id; there may be several. Queries without a right target are left out, and a
    target that is in the data twice is in the gallery twice. Similarity is the cosine, and ties count against the model. Metrics
    of each direction, ``<query>_to_<target>_...``:

    - ``R@<k>``: share of queries with a right target among the first k,
    - ``median_rank`` of the first right target,
    - ``mAP``: mean average precision over all right targets,
    - with ``log_chance``, ``R@<k>_chance``, what a random order would reach, and ``gallery_size``.

    A k above the size of the gallery is left out with a warning.

    Args:
        task_specs: The directions ``{query_modality, target_modality, top_k}``.
        log_chance: Log chance and the size of the gallery too.

    Raises:
        ValueError: If there is no direction, two are equal, or one names an unknown modality.
    """

    def __init__(self, task_specs: list[Any], log_chance: bool = False) -> None:
        super().__init__()
        self.specs = [spec if isinstance(spec, RetrievalTaskSpec) else RetrievalTaskSpec(**spec) for spec in task_specs]
        self.log_chance = log_chance
        names = [spec.name for spec in self.specs]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"task_specs must name at least one direction of retrieval and none twice, got: {', '.join(names) or 'none'}."
            )
        modalities = sorted({name for spec in self.specs for name in (spec.query_modality, spec.target_modality)})
        self.embedding_keys = {name: Modalities.get_modality(name).embedding for name in modalities}
        self.rows = nn.ModuleDict({name: CollectedRows("embeddings", "ids") for name in modalities})

    def on_evaluation_epoch_start(self, pl_module: LightningModule) -> None:
        for name in self.embedding_keys:
            self._collected(name).reset()

    def evaluation_step(self, pl_module: LightningModule, batch: dict[str, Any], batch_idx: int) -> None:
        for name, key in self.embedding_keys.items():
            if key in batch:
                self._collected(name).update(embeddings=batch[key], ids=batch[EXAMPLE_IDS_KEY][name])

    def on_evaluation_epoch_end(self, pl_module: LightningModule) -> dict[str, float | Tensor]:
        rows = {name: self._collected(name).collect() for name in self.embedding_keys}
        metrics = {}
        for spec in self.specs:
            ranks = _ranks(rows[spec.query_modality], rows[spec.target_modality], pl_module.device)
            if ranks is None:
                warnings.warn(
                    f"No example of this epoch has both {spec.query_modality!r} and {spec.target_modality!r}: {spec.name}_* is "
                    "not logged. Check the modalities that the data set returns and their example ids.",
                    stacklevel=2,
                )
                continue
            metrics |= {f"{spec.name}_{metric}": value for metric, value in self._metrics(spec, ranks).items()}
        self.on_evaluation_epoch_start(pl_module)  # the rows are not needed any more
        return metrics

    def _metrics(self, spec: RetrievalTaskSpec, ranks: RetrievalRanks) -> dict[str, float | Tensor]:
        top_k = [k for k in spec.top_k if k <= ranks.num_targets]
        if left_out := [f"{spec.name}_R@{k}" for k in spec.top_k if k > ranks.num_targets]:
            warnings.warn(f"{', '.join(left_out)} is not logged: the gallery has only {ranks.num_targets} targets.", stacklevel=3)
        metrics: dict[str, float | Tensor] = dict(zip((f"R@{k}" for k in top_k), recall_at_k(ranks, top_k).mean(0), strict=True))
        metrics |= {"median_rank": median_rank(ranks), "mAP": mean_average_precision(ranks)}
        if self.log_chance:
            metrics |= dict(zip((f"R@{k}_chance" for k in top_k), chance_hit_rate(ranks, top_k), strict=True))
            metrics["gallery_size"] = float(ranks.num_targets)
        return metrics

    def _collected(self, modality: str) -> CollectedRows:
        return self.rows[modality]  # pyright: ignore[reportReturnType]


def _ranks(query: dict[str, Tensor], target: dict[str, Tensor], device: torch.device) -> RetrievalRanks | None:
    """Ranks of all right targets; None if there are none."""
    if len(query["ids"]) == 0 or len(target["ids"]) == 0:
        return None
    query, target = ({name: x.to(device) for name, x in rows.items()} for rows in (query, target))
    ranks = retrieval_ranks(query["embeddings"], target["embeddings"], query["ids"], target["ids"])
    return ranks if len(ranks.rank_P) > 0 else None
