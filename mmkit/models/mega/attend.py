"""Attention over one stretch of keys, by the fastest way that gives the same result."""

# Shapes: B batch, T queries, S keys, Z shared representation, H values.
import torch
from torch import Tensor

from mmkit.models.mega.attention_functions import AttentionActivation, attention_weights
from mmkit.models.mega.blocked_attention import Rules, attend_in_blocks
from mmkit.models.mega.drop import drop
from mmkit.models.mega.relative_bias import RelativeBias


def attend(
    q_BTZ: Tensor,
    k_BSZ: Tensor,
    v_BSH: Tensor,
    bias: RelativeBias,
    activation: AttentionActivation,
    *,
    causal: bool,
    mask_BS: Tensor | None = None,
    offset: int | Tensor | None = None,
    dropout_p: float = 0.0,
    return_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Mix the values by weights from scores and relative positions (arXiv 2209.10655, equations 9 to 11, 16).

    Softmax scores are ``q·k / sqrt(Z) + bias``. Laplace and relu² scores are ``q·k / n + bias`` with n the number of keys: the
    real ones, or with ``causal`` the positions from the first real key to the query. A query that sees no key gets zeros.

    Args:
        q_BTZ: Queries, not scaled.
        k_BSZ: Keys.
        v_BSH: Values.
        bias: Gives a value for each ``key position - query position``.
        activation: Name of the function from scores to weights.
        causal: Hide the keys after a query's own position.
        mask_BS: True for real keys.
        offset: Position of the first query, counted from the first key; one for all or one a row (B,). By default the last
            query stands at the last key.
        dropout_p: Part of the weights that is set to zero, the others scaled up to match.
        return_weights: Also give the weights (B, T, S), before dropout.
    """
    num_queries, num_keys = q_BTZ.shape[1], k_BSZ.shape[1]
    offset = num_keys - num_queries if offset is None else offset
    query_XT = query_positions(num_queries, offset, q_BTZ.device)
    divisor = q_BTZ.shape[-1] ** 0.5 if activation == "softmax" else key_counts(query_XT, num_keys, causal, mask_BS)
    q_BTZ = q_BTZ / divisor
    if isinstance(offset, int) and not return_weights and fits_blocks(q_BTZ, causal, offset):
        values_D = bias.by_distance(1 - num_queries - offset, num_keys - 1 - offset)
        rules = Rules(activation, offset if causal else None, dropout_p)
        return attend_in_blocks(q_BTZ, k_BSZ, v_BSH, values_D, mask_BS, rules), None
    visible = visible_keys(query_XT, num_keys, causal, mask_BS)
    scores_BTS = q_BTZ @ k_BSZ.transpose(1, 2) + bias_matrix(bias, num_queries, num_keys, offset)
    weights_BTS = attention_weights(scores_BTS, activation, visible)
    y_BTH = drop(weights_BTS, dropout_p).to(v_BSH.dtype) @ v_BSH
    return y_BTH, weights_BTS if return_weights else None


def fits_blocks(q_BTZ: Tensor, causal: bool, offset: int) -> bool:
    return not torch.compiler.is_compiling() and q_BTZ.shape[1] > 1 and (not causal or offset >= 0)


def query_positions(num_queries: int, offset: int | Tensor, device: torch.device) -> Tensor:
    """Positions (T,) of the queries, or (B, T) when each row has its own offset."""
    position_T = torch.arange(num_queries, device=device)
    return position_T + (offset.unsqueeze(-1) if isinstance(offset, Tensor) else offset)


def visible_keys(query_XT: Tensor, num_keys: int, causal: bool, mask_BS: Tensor | None) -> Tensor | None:
    """What each query may see, broadcastable to (B, T, S); None when that is everything."""
    real = None if mask_BS is None else mask_BS.unsqueeze(1)
    if not causal:
        return real
    past = torch.arange(num_keys, device=query_XT.device) <= query_XT.unsqueeze(-1)
    return past if real is None else past & real


def key_counts(query_XT: Tensor, num_keys: int, causal: bool, mask_BS: Tensor | None) -> Tensor:
    """By how many keys element attention divides, at least 1, broadcastable to (B, T, 1)."""
    if not causal:
        return torch.full((1,), num_keys, device=query_XT.device) if mask_BS is None else real_keys(mask_BS)
    count_XT1 = (query_XT + 1).clamp(max=num_keys).unsqueeze(-1)
    if mask_BS is not None:
        # Pads before the first real key are no history; later ones count, as in the original implementation.
        count_XT1 = count_XT1 - mask_BS.int().argmax(-1)[:, None, None]
    return count_XT1.clamp(min=1)


def real_keys(mask_BS: Tensor) -> Tensor:
    """The number of real keys, at least 1: (B, 1, 1)."""
    return mask_BS.sum(-1).clamp(min=1)[:, None, None]


def bias_matrix(bias: RelativeBias, num_queries: int, num_keys: int, offset: int | Tensor) -> Tensor:
    """The bias (T, S), or (B, T, S) when each row has its own offset."""
    if isinstance(offset, Tensor):
        position_S = torch.arange(num_keys, device=offset.device)
        return bias.between(query_positions(num_queries, offset, offset.device), position_S)
    values_D = bias.by_distance(1 - num_queries - offset, num_keys - 1 - offset)
    return values_D.unfold(0, num_keys, 1).flip(0)
