"""Classification by the names of the classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.datasets.core import CombinedDataset, Modalities
from mmkit.tasks.classification import accuracy_metrics, class_numbers, labelled_rows, new_accuracy
from mmkit.tasks.frozen import frozen
from mmkit.tasks.hooks import EvaluationHooks


NEEDED = ("name", "id2label", "zero_shot_prompt_templates")
PROMPTS_PER_BATCH = 256  # prompts are short: this fills a GPU and takes little memory


@dataclass
class ClassificationTaskSpec:
    """What is classified.

    Args:
        query_modality: Modality of the examples. Their labels are its target, e.g. ``rgb_target``, one integer per example.
        top_k: The values of k of the accuracy; those above a data set's number of classes are left out.
    """

    query_modality: str
    top_k: list[int]


# Shapes: B examples, C classes, T templates, D embedding dim.
@dataclass
class ClassNames:
    """The classes of one data set; ``label_C`` are their labels, ascending, and ``x_CD`` their embeddings of unit length."""

    name: str
    label_C: Tensor
    x_CD: Tensor


@external_store(group="eval_task")
class ZeroShotClassification(EvaluationHooks):
    """Classify every example as the class whose name is nearest to it (https://arxiv.org/abs/2103.00020, section 3.1).

    Every class is described by its data set's prompt templates; the embeddings of these prompts are averaged after normalisation.
    Classes compete within their data set only. They are embedded once per epoch. Two classes are as good as a thousand. The
    evaluated data sets, of which there may be several, say what their classes are:

    - ``name: str``, under which the metrics are logged,
    - ``id2label: dict[int, str]``, label to name of the class,
    - ``zero_shot_prompt_templates: list[str]``, each with one ``{}`` for the name.

    Data sets without these are left out. Metrics: ``<name>_<modality>_top<k>_accuracy`` and ``<name>_<modality>_macro_accuracy``,
    the mean over classes.

    Args:
        task_specs: What is classified: ``{query_modality, top_k}``.
        tokenizer: Maps a list of strings to the inputs of the text encoder, as the batch processor of the texts does.
        text_modality: Modality of the prompts.

    Raises:
        ValueError: If nothing is to be classified, or a modality is unknown. When an epoch starts: if no evaluated data set
            describes its classes, or their names or templates are of no use.
    """

    def __init__(
        self, task_specs: list[Any], tokenizer: Callable[[list[str]], dict[str, Tensor]], text_modality: str = "text"
    ) -> None:
        super().__init__()
        specs = [spec if isinstance(spec, ClassificationTaskSpec) else ClassificationTaskSpec(**spec) for spec in task_specs]
        if not specs:
            raise ValueError("task_specs must name at least one {query_modality, top_k}, got none.")
        self.specs = {Modalities.get_modality(spec.query_modality): spec for spec in specs}
        self.tokenizer = tokenizer
        self.text_modality = Modalities.get_modality(text_modality)
        self.accuracies = nn.ModuleDict()
        self._classes: dict[int, ClassNames] = {}  # by dataset_index

    def on_evaluation_epoch_start(self, pl_module: LightningModule) -> None:
        described = described_datasets(evaluated_datasets(pl_module.trainer))
        self._classes = {index: self._encoded(pl_module, dataset) for index, dataset in described.items()}
        self.accuracies = nn.ModuleDict(
            {
                _key(index, modality): new_accuracy(len(classes.label_C), spec.top_k, pl_module.device)
                for index, classes in self._classes.items()
                for modality, spec in self.specs.items()
            }
        )

    def evaluation_step(self, pl_module: LightningModule, batch: dict[str, Any], batch_idx: int) -> None:
        for modality in self.specs:
            if modality.embedding not in batch:
                continue
            x_BD = F.normalize(batch[modality.embedding].float(), dim=-1)
            x_LD, label_L, dataset_L = labelled_rows(batch, modality.name, modality.target, x_BD)
            for index, classes in self._classes.items():
                here_L = dataset_L == index
                class_L = class_numbers(label_L[here_L], classes.label_C, f"data set {classes.name!r}")
                accuracy: Any = self.accuracies[_key(index, modality)]
                accuracy.update(x_LD[here_L] @ classes.x_CD.T, class_L)

    def on_evaluation_epoch_end(self, pl_module: LightningModule) -> dict[str, Tensor]:
        metrics = {}
        for index, classes in self._classes.items():
            for modality in self.specs:
                accuracy: Any = self.accuracies[_key(index, modality)]
                metrics |= accuracy_metrics(f"{classes.name}_{modality}", accuracy, modality.target)
        self._classes = {}
        return metrics

    def _encoded(self, pl_module: LightningModule, dataset: Any) -> ClassNames:
        labels = sorted(dataset.id2label)
        prompts = [
            template.replace("{}", dataset.id2label[label]) for label in labels for template in dataset.zero_shot_prompt_templates
        ]
        blocks = [prompts[i : i + PROMPTS_PER_BATCH] for i in range(0, len(prompts), PROMPTS_PER_BATCH)]
        with frozen(pl_module):
            x_CTD = torch.cat([self._encode_texts(pl_module, block) for block in blocks]).unflatten(0, (len(labels), -1))
        return ClassNames(dataset.name, torch.tensor(labels, device=x_CTD.device), F.normalize(x_CTD.mean(1), dim=-1))

    def _encode_texts(self, pl_module: LightningModule, texts: list[str]) -> Tensor:
        inputs = pl_module.transfer_batch_to_device(self.tokenizer(texts), pl_module.device, dataloader_idx=0)
        x_BD = pl_module.encode(inputs, self.text_modality.name)  # pyright: ignore[reportCallIssue]
        return F.normalize(x_BD.float(), dim=-1)


def _key(dataset_index: int, modality: str) -> str:
    return f"{dataset_index}_{modality}"


def evaluated_datasets(trainer: Trainer) -> Sequence[Any]:
    """The data sets of the running validation or test, in the order of their ``dataset_index``."""
    loaders = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    loader = loaders[0] if isinstance(loaders, list) and len(loaders) == 1 else loaders
    dataset = getattr(loader, "dataset", None)
    if not isinstance(dataset, CombinedDataset):
        raise TypeError(
            f"Zero-shot classification needs one DataLoader over a CombinedDataset, got {type(dataset or loader).__name__}."
        )
    return dataset.datasets


def described_datasets(datasets: Sequence[Any]) -> dict[int, Any]:
    """The data sets that describe their classes, by ``dataset_index``.

    Raises:
        ValueError: If there is none, two have the same name, or one has no class, no template, or a template without ``{}``.
    """
    described = {index: dataset for index, dataset in enumerate(datasets) if all(hasattr(dataset, name) for name in NEEDED)}
    if not described:
        lacks = [
            f"{type(dataset).__name__} lacks {', '.join(n for n in NEEDED if not hasattr(dataset, n))}" for dataset in datasets
        ]
        raise ValueError(f"Zero-shot classification needs a data set with {', '.join(NEEDED)}. {'; '.join(lacks)}.")
    names = [dataset.name for dataset in described.values()]
    if len(set(names)) < len(names):
        raise ValueError(f"Evaluated data sets must have different names, got: {', '.join(names)}.")
    for dataset in described.values():
        templates = dataset.zero_shot_prompt_templates
        if not dataset.id2label or not templates or not all(template.count("{}") == 1 for template in templates):
            raise ValueError(
                f"Data set {dataset.name!r} must name its classes in id2label and have templates with one '{{}}' each, got "
                f"{len(dataset.id2label)} classes and the templates {list(templates)}."
            )
    return described
