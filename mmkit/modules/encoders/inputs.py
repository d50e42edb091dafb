"""What an encoder reads from the dictionary of a batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmkit.datasets.core import Modalities


# Shapes: B batch, N tokens, L the length of a text.


def modality_input(inputs: Mapping[str, Any], modality: str) -> Tensor:
    """The tensor of a modality.

    Raises:
        ValueError: The modality is absent.
        TypeError: Its value is not a tensor, such as text that no tokenizer has seen.
    """
    if modality not in inputs:
        raise ValueError(f"The encoder reads {modality!r}, but the batch has: {', '.join(inputs)}. Set its argument `modality`.")
    if not isinstance(inputs[modality], Tensor):
        raise TypeError(
            f"The encoder needs {modality!r} as a tensor, got {type(inputs[modality]).__name__}. Add a processor for it (text: a "
            f"tokenizer) as dataloader.<stage>.collate_fn.batch_processors.{modality}."
        )
    return inputs[modality]


def padding_mask(inputs: Mapping[str, Any], modality: str) -> Tensor | None:
    """``attention_mask`` or ``<modality>_attention_mask``, nonzero where a token is real, of shape (B, N); None if absent."""
    return inputs.get("attention_mask", inputs.get(Modalities.get_modality(modality).attention_mask))


def check_length(token_ids_BL: Tensor, max_length: int | None, encoder: nn.Module) -> None:
    """Refuse a text that is longer than the model.

    Raises:
        ValueError: It is; both lengths are named.
    """
    length = token_ids_BL.shape[1]
    if max_length is not None and length > max_length:
        raise ValueError(
            f"A text of {length} tokens is longer than the {max_length} that {type(encoder).__name__} takes. Let the tokenizer "
            f"cut it (max_length={max_length})."
        )
