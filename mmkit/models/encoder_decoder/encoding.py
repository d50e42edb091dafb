"""From a batch to hidden states by name, with one encoder or several."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmkit.constants import EXAMPLE_IDS_KEY
from mmkit.models.encoder_decoder.row_matching import batch_ids, matched_rows, take_rows
from mmkit.modules.encoders.inputs import padding_mask


# Shapes: B rows of the batch, S positions, H hidden size.


class Encoded(NamedTuple):
    """Hidden states (B, S, H) of a modality, and their mask (B, S): True for real positions."""

    hiddens: Tensor
    mask: Tensor


def encode_rows(encoder: nn.Module, inputs: Mapping[str, Any], modality: str) -> Encoded:
    """The hidden states of the rows that have the modality.

    Which positions are real is told by the encoder's ``output_mask(inputs)`` if it has such a method; otherwise by the mask of
    the input if it is as long as the output. An embedding (B, H) becomes one position.
    """
    x_BSH = encoder(inputs)[0]
    x_BSH = x_BSH.unsqueeze(1) if x_BSH.ndim == 2 else x_BSH
    mask_BS = encoder.output_mask(inputs) if hasattr(encoder, "output_mask") else padding_mask(inputs, modality)  # pyright: ignore[reportCallIssue]
    if mask_BS is None or mask_BS.shape != x_BSH.shape[:2]:
        mask_BS = x_BSH.new_ones(x_BSH.shape[:2])
    return Encoded(x_BSH, mask_BS != 0)


def encode_all(encoders: Mapping[str, nn.Module], inputs: Mapping[str, Any], target_modality: str) -> dict[str, Tensor]:
    """Hidden states by name.

    Args:
        encoders: Encoders by modality.
        inputs: A batch. With several encoders its ``example_ids`` tell which rows belong together; without them all modalities
            that are there have the same rows.
        target_modality: Its rows are the rows of the result; without it, all examples of the batch (one encoder: those that
            it encodes).

    Returns:
        ``hiddens`` (B, S, H) and ``hiddens_mask`` (B, S), those of all modalities one behind the other; and of each alone, as
        ``<modality>.hiddens`` and ``<modality>.hiddens_mask``: zeros with mask 0 for rows without the modality.

    Raises:
        ValueError: The batch has none of the modalities, or the encoders differ in size.
    """
    encoded = {m: encode_rows(encoder, inputs, m) for m, encoder in encoders.items() if m in inputs or len(encoders) == 1}
    if not encoded:
        raise ValueError(f"There are encoders for {', '.join(encoders)}, but the batch has: {', '.join(inputs)}.")
    if EXAMPLE_IDS_KEY in inputs and _needs_alignment(encoders, inputs, target_modality):
        encoded = _aligned(encoded, inputs, target_modality)
    first = next(iter(encoded.values()))
    missing = Encoded(torch.zeros_like(first.hiddens[:, :1]), torch.zeros_like(first.mask[:, :1]))
    by_modality = {modality: encoded.get(modality, missing) for modality in encoders}
    _check_sizes(by_modality)
    named = {"hiddens": torch.cat([x.hiddens for x in by_modality.values()], dim=1)}
    named["hiddens_mask"] = torch.cat([x.mask for x in by_modality.values()], dim=1)
    for modality, one in by_modality.items():
        named |= {f"{modality}.hiddens": one.hiddens, f"{modality}.hiddens_mask": one.mask}
    return named


def _needs_alignment(encoders: Mapping[str, nn.Module], inputs: Mapping[str, Any], target_modality: str) -> bool:
    """Whether the rows may be others than those of the encoder's input."""
    return len(encoders) > 1 or (target_modality not in encoders and target_modality in inputs[EXAMPLE_IDS_KEY])


def _aligned(encoded: Mapping[str, Encoded], inputs: Mapping[str, Any], target_modality: str) -> dict[str, Encoded]:
    """Bring all modalities to the rows of the batch."""
    ids_B2, ids_of = batch_ids(inputs, target_modality), inputs[EXAMPLE_IDS_KEY]
    assert ids_B2 is not None
    return {m: Encoded(*take_rows(*one, *matched_rows(ids_B2, ids_of[m]))) for m, one in encoded.items()}


def _check_sizes(by_modality: Mapping[str, Encoded]) -> None:
    shapes = {modality: (len(one.hiddens), one.hiddens.shape[2]) for modality, one in by_modality.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{modality}: {rows} rows of size {size}" for modality, (rows, size) in shapes.items())
        raise ValueError(
            f"The encoders' outputs do not fit together: {told}. Give all encoders one hidden size; rows that differ need "
            "`example_ids` in the batch, as mmkit's collator gives."
        )
