"""What a latent space of texts gives, for people to read."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from mmkit.conf import external_store
from mmkit.datasets.core import Modalities
from mmkit.tasks.hooks import EvaluationHooks


RUN_DIR = "${hydra:runtime.output_dir}"


@external_store(group="eval_task", path=f"{RUN_DIR}/texts.txt")
class TextReport(EvaluationHooks):
    """Write reconstructions, samples of the prior and interpolations of a trained ``EncoderDecoderPretraining`` to a file.

    Metric: ``different``, share of the samples that differ from all before them.

    Args:
        path: Where the file is written.
        num_reconstructions: Number of texts, the first ones of the data.
        num_samples: Number of samples.
        steps: Number of texts of the interpolation between the first two of the data.
        seed: Of the samples.
        method: How samples are decoded, ``"greedy"``, ``"sample"`` or ``"beam"``.
    """

    def __init__(
        self,
        path: str,
        num_reconstructions: int = 8,
        num_samples: int = 200,
        steps: int = 6,
        seed: int = 0,
        method: str = "greedy",
    ) -> None:
        super().__init__()
        self.path = path
        self.num_reconstructions = num_reconstructions
        self.num_samples = num_samples
        self.steps = steps
        self.seed = seed
        self.method = method

    def on_evaluation_epoch_start(self, pl_module: Any) -> None:
        self._given: list[str] = []

    def evaluation_step(self, pl_module: Any, batch: dict[str, Any], batch_idx: int) -> None:
        ids_BL = batch[Modalities.TEXT.name][: self.num_reconstructions - len(self._given)]
        self._given += [pl_module.tokenizer.decode(ids_L) for ids_L in ids_BL]

    def on_evaluation_epoch_end(self, pl_module: Any) -> dict[str, float]:
        samples = pl_module.sample(self.num_samples, seed=self.seed, method=self.method)
        self._write(pl_module, samples)
        return {"different": len(set(samples)) / max(len(samples), 1)}

    @rank_zero_only
    def _write(self, pl_module: Any, samples: list[str]) -> None:
        lines = ["Reconstructions: what was given, and what came back", ""]
        for given, found in zip(self._given, pl_module.reconstruct(self._given) if self._given else [], strict=True):
            lines += [given, found, ""]
        lines += ["Samples of the prior", "", *samples, ""]
        if len(self._given) > 1:
            path = pl_module.interpolate(self._given[0], self._given[1], self.steps)
            lines += ["From the first text to the second", "", *path, ""]
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        Path(self.path).write_text("\n".join(lines), encoding="utf-8")
