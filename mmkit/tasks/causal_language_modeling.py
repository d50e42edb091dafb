"""Causal language modelling: the next token from those before it."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.constants import IGNORED_LABEL
from mmkit.tasks.language_modeling import LanguageModeling, without_padding


# Shapes: B texts, L tokens, V ids of the vocabulary.
@external_store(group="task")
class CausalLanguageModeling(LanguageModeling):
    """Predict every token from those before it.

    Position t predicts the label of t + 1; the first token of a text is never predicted, nor is padding. The loss is the mean
    over the predicted tokens of a batch: with gradient accumulation and on several ranks all batches count alike, which is the
    mean over tokens where all have the same number of them.

    Logs ``<stage>/loss`` (nats per token), ``<stage>/perplexity``, ``<stage>/accuracy`` and, where bytes are known,
    ``<stage>/bits_per_byte``: the negative log-likelihood of the text in bits, divided by its bytes. Unlike perplexity it can be
    compared between tokenizers. Bytes are known by ``bytes_per_token``, or where the batch has ``<modality>_num_bytes``: for
    every text, the bytes of what is predicted of it.

    Args:
        model: Any causal model of the group ``models`` or of transformers; its logits are (B, L, V).
        modality: The modality whose ids (B, L) are read. Labels are these ids, or ``<modality>_target`` (B, L) if the batch has
            it: not shifted, -100 where nothing is predicted.
        optimizer: Partial of an optimizer.
        lr_scheduler: Partial of a scheduler, or ``{scheduler, extras}``.
        evaluation_tasks: ``{task, run_on_validation, run_on_test}`` by name.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        label_smoothing: Share of the target that is spread over the vocabulary, in the loss but not in perplexity.
        bytes_per_token: Bytes that a token stands for: 1 for a model of bytes, or one number per id, 0 for special tokens.
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
        bytes_per_token: int | list[int] | None = None,
    ) -> None:
        super().__init__(model, modality, optimizer, lr_scheduler, evaluation_tasks, gradient_checkpointing, label_smoothing)
        self.bytes_key = f"{self.modality}_num_bytes"
        per_token = None if bytes_per_token is None else torch.tensor(bytes_per_token, dtype=torch.long)
        self.register_buffer("bytes_per_token", per_token, persistent=False)

    def labels(self, batch: dict[str, Any]) -> Tensor:
        mask_BL = batch.get(self.mask_key)
        given = self.target_key in batch
        labels_BL = self.given_labels(batch) if given else without_padding(self.read(batch), mask_BL)
        return without_padding(next_token_labels(labels_BL), mask_BL)  # with padding on the left, none predicts the first token

    def num_bytes(self, batch: dict[str, Any], labels_BL: Tensor) -> Tensor | None:
        if self.bytes_key in batch:
            return batch[self.bytes_key].sum()
        per_token = self.bytes_per_token
        if not isinstance(per_token, Tensor):
            return None
        predicted_BL = labels_BL != IGNORED_LABEL
        return predicted_BL.sum() * per_token if per_token.ndim == 0 else (per_token[labels_BL.clamp(min=0)] * predicted_BL).sum()


def next_token_labels(labels_BL: Tensor) -> Tensor:
    """Labels for the position before: what stands at t + 1 is predicted at t, and nothing at the last position.

    Example:
        >>> next_token_labels(torch.tensor([[5, 6, 7]]))
        tensor([[   6,    7, -100]])
    """
    return torch.nn.functional.pad(labels_BL[:, 1:], (0, 1), value=IGNORED_LABEL)
