"""Classification with the help of a labelled data set that the model embeds."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from mmkit.datasets.core import Modalities
from mmkit.tasks.classification import accuracy_metrics, class_numbers, labelled_rows, new_accuracy
from mmkit.tasks.frozen import frozen
from mmkit.tasks.hooks import EvaluationHooks


# Shapes: B examples, N examples of the bank, D embedding dim, C classes.
@dataclass
class Bank:
    """An embedded data set.

    Args:
        x_ND: Embeddings of unit length.
        class_N: Class of every example, from 0.
        label_C: Label of every class, ascending.
    """

    x_ND: Tensor
    class_N: Tensor
    label_C: Tensor


def encode_bank(pl_module: LightningModule, batches: Iterable[dict[str, Any]], modality: str, target_key: str) -> Bank:
    """Embed labelled batches; the model and the random state stay as they are.

    Args:
        pl_module: The task whose model embeds.
        batches: Batches as :class:`~mmkit.datasets.core.DefaultDataCollator` makes them.
        modality: What to embed.
        target_key: Key of the labels.

    Raises:
        ValueError: If no example has the modality and a label.
    """
    embeddings, labels = [], []
    with frozen(pl_module):
        for batch in batches:
            on_device = pl_module.transfer_batch_to_device(batch, pl_module.device, dataloader_idx=0)
            if modality in on_device:
                x_BD = F.normalize(pl_module.encode(on_device, modality).float(), dim=-1)  # pyright: ignore[reportCallIssue]
                x_LD, labels_L, _ = labelled_rows(on_device, modality, target_key, x_BD)
                embeddings.append(x_LD)
                labels.append(labels_L)
    if sum(map(len, labels)) == 0:
        raise ValueError(f"No example of the bank has {modality!r} and a label {target_key!r}. Check its data set.")
    label_C, class_N = torch.unique(torch.cat(labels), return_inverse=True)
    return Bank(torch.cat(embeddings), class_N, label_C)


class BankClassification(EvaluationHooks, ABC):
    """Base of evaluations that classify embeddings with the help of a bank, which is embedded anew for every epoch.

    Args:
        bank: Labelled batches that can be iterated again and again, e.g. a ``DataLoader`` over the training data.
        modality: What is embedded and classified.
        target_key: Key of the labels, one integer per example. Default: the modality's target, e.g. ``rgb_target``.
        top_k: The values of k of the accuracy.
    """

    def __init__(self, bank: Iterable[dict[str, Any]], modality: str, target_key: str | None, top_k: list[int] | None) -> None:
        super().__init__()
        self.bank = bank
        self.modality = Modalities.get_modality(modality)
        self.target_key = target_key or self.modality.target
        self.top_k = top_k
        self.accuracies = nn.ModuleDict()
        self._encoded: Bank | None = None

    @abstractmethod
    def fit(self, bank: Bank) -> list[str]:
        """Get ready to classify; returns the names under which ``scores`` answers, each a prefix of metrics."""

    @abstractmethod
    def scores(self, x_BD: Tensor, bank: Bank) -> Mapping[str, Tensor]:
        """Scores (B, C) of embeddings of unit length, by name."""

    def on_evaluation_epoch_start(self, pl_module: LightningModule) -> None:
        self._encoded = encode_bank(pl_module, self.bank, self.modality.name, self.target_key)
        num_classes, names = len(self._encoded.label_C), self.fit(self._encoded)
        self.accuracies = nn.ModuleDict({name: new_accuracy(num_classes, self.top_k, pl_module.device) for name in names})

    def evaluation_step(self, pl_module: LightningModule, batch: dict[str, Any], batch_idx: int) -> None:
        assert self._encoded is not None
        if self.modality.embedding not in batch:
            return
        x_BD = F.normalize(batch[self.modality.embedding].float(), dim=-1)
        x_LD, label_L, _ = labelled_rows(batch, self.modality.name, self.target_key, x_BD)
        class_L = class_numbers(label_L, self._encoded.label_C, "the bank")
        for name, scores_LC in self.scores(x_LD, self._encoded).items():
            accuracy: Any = self.accuracies[name]
            accuracy.update(scores_LC, class_L)

    def on_evaluation_epoch_end(self, pl_module: LightningModule) -> dict[str, Tensor]:
        self._encoded = None
        metrics = {}
        for name, accuracy in self.accuracies.items():
            metrics |= accuracy_metrics(name, accuracy, self.target_key)  # pyright: ignore[reportArgumentType]
        return metrics
