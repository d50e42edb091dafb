"""What an encoder–decoder should write for a batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.constants import IGNORED_LABEL
from mmkit.datasets.core import Modalities
from mmkit.datasets.tokenizers.base import TextTokenizer


# Shapes: B examples, L tokens as the tokenizer gives them, T target tokens.
def target_of(batch: Mapping[str, Any], modality: str, begins: bool = True) -> Tensor:
    """The target of every example: its tokens without begin, with end, then :data:`IGNORED_LABEL`.

    Args:
        batch: Has ``<modality>_target`` (B, T), which is taken as it is, as a denoiser makes it; or ids (B, L) under the
            modality's name, padded on the right, with their attention mask.
        modality: What is decoded.
        begins: Whether ids start with the begin token, which is never predicted.

    Returns:
        Labels (B, T).

    Raises:
        ValueError: If the batch has neither, or a target of another shape, e.g. one class per example.
        TypeError: If the modality is no tensor.

    Example:
        >>> import torch
        >>> target_of({"text": torch.tensor([[1, 5, 2, 0]]), "text_attention_mask": torch.tensor([[1, 1, 1, 0]])}, "text")
        tensor([[   5,    2, -100]])
    """
    keys = Modalities.get_modality(modality)
    if keys.target in batch:
        return _checked(keys.target, batch[keys.target])
    if modality not in batch:
        raise ValueError(
            f"There is nothing to decode: the batch has neither {modality!r} nor {keys.target!r}, but {', '.join(batch)}. "
            "Name another task.model.target_modality, or let the data set give it."
        )
    if not isinstance(batch[modality], Tensor):
        raise TypeError(
            f"The decoder needs {modality!r} as a tensor, got {type(batch[modality]).__name__}. Add a tokenizer as "
            f"dataloader.<stage>.collate_fn.batch_processors.{modality}."
        )
    first = int(begins)
    labels_BT, mask_BL = batch[modality][:, first:], batch.get(keys.attention_mask)
    return labels_BT if mask_BL is None else labels_BT.masked_fill(~mask_BL[:, first:].bool(), IGNORED_LABEL)


def _checked(key: str, labels: Tensor) -> Tensor:
    if labels.ndim != 2 or labels.is_floating_point():
        raise ValueError(
            f"{key} is what the decoder writes: ids (batch, tokens), {IGNORED_LABEL} on padding. Got {tuple(labels.shape)} of "
            f"{labels.dtype}. Rename other targets in the data set."
        )
    return labels


def begins_texts(tokenizer: TextTokenizer | None) -> bool:
    """Whether the ids of a text start with the tokenizer's begin token; assumed where there is no tokenizer to ask."""
    if tokenizer is None:
        return True
    ids_L = tokenizer("a")[tokenizer.modality]
    return len(ids_L) > 0 and int(ids_L[0]) == tokenizer.bos_id
