"""How well molecules come back, and what a latent space of molecules gives when it is sampled and walked through."""

from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from torchmetrics import SumMetric

from mmkit.conf import external_store
from mmkit.datasets.core import Modalities
from mmkit.tasks.hooks import EvaluationHooks
from projects.molmim.chemistry import canonical, generation_scores
from projects.molmim.known import KnownLines
from projects.molmim.picture import draw_molecules
from projects.molmim.recipe import MosesRecipe


RUN_DIR = "${hydra:runtime.output_dir}"


@external_store(group="eval_task", path=f"{RUN_DIR}/interpolation.png")
class MoleculeReport(EvaluationHooks):
    """Reconstruct, sample and interpolate molecules with a trained ``EncoderDecoderPretraining``.

    Metrics: ``reconstruction``, share of the molecules whose greedy reconstruction is the same string; ``same_molecule``, share
    of those whose reconstruction is the same molecule, however written; of samples from the prior ``validity``, ``uniqueness``
    and ``novelty`` (see :func:`~projects.molmim.chemistry.generation_scores`).

    A picture shows interpolations between the first molecules of the data: in the framed outer columns the molecules that were
    given, between them what is decoded, from the reconstruction of one to that of the other.

    Args:
        path: Where the picture is written, a PNG; null draws none.
        num_reconstructions: Number of molecules, the first ones of each process's data.
        num_samples: Number of samples.
        method: How samples are decoded, ``"sample"``, ``"greedy"`` or ``"beam"``.
        seed: Of the samples.
        num_pairs: Number of interpolations.
        steps: Number of molecules decoded for each.
        training_file: Text file with the molecules that are not new, one canonical SMILES string a line. Default: those of MOSES.
    """

    def __init__(
        self,
        path: str | None,
        num_reconstructions: int = 1000,
        num_samples: int = 1000,
        method: str = "sample",
        seed: int = 0,
        num_pairs: int = 4,
        steps: int = 6,
        training_file: str | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.num_reconstructions = num_reconstructions
        self.num_samples = num_samples
        self.method = method
        self.seed = seed
        self.num_pairs = num_pairs
        self.steps = steps
        self.training_file = training_file
        self.equal, self.same, self.total = SumMetric(), SumMetric(), SumMetric()
        self._known: KnownLines | None = None

    def on_evaluation_epoch_start(self, pl_module: Any) -> None:
        for metric in (self.equal, self.same, self.total):
            metric.reset()
        self._num_done = 0
        self._ends: list[str] = []

    def evaluation_step(self, pl_module: Any, batch: dict[str, Any], batch_idx: int) -> None:
        ids_BL = batch[Modalities.TEXT.name][: self.num_reconstructions - self._num_done]
        if not len(ids_BL):
            return
        given = [pl_module.tokenizer.decode(ids_L) for ids_L in ids_BL]
        found = pl_module.reconstruct(given)
        self._num_done += len(given)
        self._ends += given[: 2 * self.num_pairs - len(self._ends)]
        self.equal.update(sum(map(str.__eq__, given, found)))
        self.same.update(sum(map(_same, given, found)))
        self.total.update(len(given))

    def on_evaluation_epoch_end(self, pl_module: Any) -> dict[str, Any]:
        samples = pl_module.sample(self.num_samples, seed=self.seed, method=self.method)
        total = self.total.compute()
        if self.path is not None:
            self._draw(pl_module, self.path)
        return {
            "reconstruction": self.equal.compute() / total,
            "same_molecule": self.same.compute() / total,
            **generation_scores(samples, self.known()),
        }

    def known(self) -> KnownLines:
        """The molecules that are not new; read when they are first asked for."""
        if self._known is None:
            self._known = KnownLines(self.training_file or MosesRecipe().locate() / "train.txt")
        return self._known

    @rank_zero_only
    def _draw(self, pl_module: Any, path: str) -> None:
        pairs = list(zip(self._ends[::2], self._ends[1::2], strict=False))
        rows = [[first, *pl_module.interpolate(first, last, self.steps), last] for first, last in pairs]
        draw_molecules(path, rows, _captions(self.steps), framed=(0, self.steps + 1))


def _same(first: str, second: str) -> bool:
    return canonical(first) is not None and canonical(first) == canonical(second)


def _captions(steps: int) -> list[str]:
    """What stands over the columns of the picture: how far along the way they are."""
    return ["given", *(f"{step / (steps - 1):.0%}" for step in range(steps)), "given"]
