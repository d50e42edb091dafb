"""Attention of one query to what a cache holds: the step that generation consists of."""

# Shapes: B batch, S keys, Z shared representation, H values.
import torch
from torch import Tensor

from mmkit.models.mega.attention_functions import AttentionActivation, attention_weights
from mmkit.models.mega.key_value_memory import Visible


def attend_once(
    q_B1Z: Tensor, seen: Visible, bias_XS: Tensor, activation: AttentionActivation, *, causal: bool
) -> tuple[Tensor, Tensor]:
    """What ``attend`` gives for one query without dropout, in few operations.

    Args:
        q_B1Z: The query, not scaled.
        seen: Keys, values, mask, and the query's position. With ``causal`` and one position for all rows, the last key is the
            query's own.
        bias_XS: The bias of the query for each key, (S,) or (B, 1, S).
        activation: Name of the function from scores to weights.
        causal: Hide the keys after the query's own position.

    Returns:
        The mixed values (B, 1, H) and the weights (B, 1, S).
    """
    visible_BS = visible_keys(seen) if causal else seen.mask_BS
    divisor = q_B1Z.shape[-1] ** 0.5 if activation == "softmax" else key_count(seen, causal)
    scores_B1S = torch.bmm(q_B1Z / divisor, seen.keys_BSZ.transpose(1, 2)) + bias_XS
    weights_B1S = attention_weights(scores_B1S, activation, None if visible_BS is None else visible_BS.unsqueeze(1))
    return torch.bmm(weights_B1S.to(seen.values_BSH.dtype), seen.values_BSH), weights_B1S


def visible_keys(seen: Visible) -> Tensor | None:
    """The keys (B, S) up to the query's own; None when that is all."""
    if isinstance(seen.offset, int):
        return seen.mask_BS
    past_BS = torch.arange(seen.keys_BSZ.shape[1], device=seen.offset.device) <= seen.offset.unsqueeze(1)
    return past_BS if seen.mask_BS is None else past_BS & seen.mask_BS


def key_count(seen: Visible, causal: bool) -> int | Tensor:
    """By how many keys element attention divides: the real ones, or with ``causal`` the positions since the row began."""
    if causal:
        # Pads within the row count, as in the original implementation.
        count = seen.offset + 1 - (0 if seen.first_B is None else seen.first_B)
    else:
        count = seen.keys_BSZ.shape[1] if seen.mask_BS is None else seen.mask_BS.sum(1)
    return count.clamp(min=1)[:, None, None] if isinstance(count, Tensor) else count
