"""Attention over one stretch of keys, by the fastest way that gives the same result."""

# Shapes: B batch, T queries, S keys, Z shared representation, H values.
import torch
from torch import Tensor

from mmkit.models.mega.attention_functions import AttentionActivation, attention_weights
from mmkit.models.mega.blocked_attention import Rules, attend_in_blocks
from mmkit.models.mega.drop import drop
from mmkit.models.mega.folded_attention import attend_folded
from mmkit.models.mega.relative_bias import RelativeBias, RotaryRelativePositionalBias


WHOLE_ROWS = 128  # so few queries, as in a chunk, are as fast with whole weights


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
    first_B: Tensor | int | None = None,
    dropout_p: float = 0.0,
    return_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Mix the values by weights from scores and relative positions (arXiv 2209.10655).

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
        first_B: Position of the first real key, as far as element attention counts from there; by default by ``mask_BS``.
        dropout_p: Part of the weights that is set to zero, the others scaled up to match.
        return_weights: Also give the weights (B, T, S), before dropout.
    """
    num_queries, num_keys = q_BTZ.shape[1], k_BSZ.shape[1]
    offset = num_keys - num_queries if offset is None else offset
    query_XT = query_positions(num_queries, offset, q_BTZ.device)
    if activation == "softmax":
        q_BTZ = q_BTZ * q_BTZ.shape[-1] ** -0.5
    else:
        q_BTZ = q_BTZ / key_counts(query_XT, num_keys, causal, mask_BS, first_B)
    if not return_weights and isinstance(offset, int):
        if isinstance(bias, RotaryRelativePositionalBias) and suits_kernels(q_BTZ, activation, causal, offset):
            options = {"causal": causal, "mask_BS": mask_BS, "offset": offset, "dropout_p": dropout_p}
            return attend_folded(q_BTZ, k_BSZ, v_BSH, bias, **options), None
        if suits_blocks(num_queries, causal, offset):
            values_D = bias.by_distance(1 - num_queries - offset, num_keys - 1 - offset)
            rules = Rules(activation, offset if causal else None, dropout_p)
            return attend_in_blocks(q_BTZ, k_BSZ, v_BSH, values_D, mask_BS, rules), None
    scores_BTS = q_BTZ @ k_BSZ.transpose(1, 2) + bias_matrix(bias, num_queries, num_keys, offset)
    weights_BTS = attention_weights(scores_BTS, activation, visible_keys(query_XT, num_keys, causal, mask_BS))
    y_BTH = drop(weights_BTS, dropout_p).to(v_BSH.dtype) @ v_BSH
    return y_BTH, weights_BTS if return_weights else None


def suits_kernels(q_BTZ: Tensor, activation: AttentionActivation, causal: bool, offset: int) -> bool:
    """Whether fused kernels can do it, and do it faster: not on a CPU, where blocks take two thirds of their time."""
    return activation == "softmax" and q_BTZ.device.type == "cuda" and (not causal or offset == 0)


def suits_blocks(num_queries: int, causal: bool, offset: int) -> bool:
    """Whether blocks can do it and pay: there should be several, and what torch.compile sees should be plain."""
    return num_queries > WHOLE_ROWS and (not causal or offset >= 0) and not torch.compiler.is_compiling()


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


def key_counts(
    query_XT: Tensor, num_keys: int, causal: bool, mask_BS: Tensor | None, first_B: Tensor | int | None = None
) -> Tensor:
    """By how many keys element attention divides, at least 1, broadcastable to (B, T, 1)."""
    if not causal:
        real = torch.full((1,), num_keys, device=query_XT.device) if mask_BS is None else mask_BS.sum(-1)
        return real.clamp(min=1)[:, None, None]
    if first_B is None:
        first_B = 0 if mask_BS is None else mask_BS.int().argmax(-1)
    # Pads before the first real key are no history; later ones count, as in the original implementation.
    first_B11 = first_B[:, None, None] if isinstance(first_B, Tensor) else first_B
    return ((query_XT + 1).clamp(max=num_keys).unsqueeze(-1) - first_B11).clamp(min=1)


def bias_matrix(bias: RelativeBias, num_queries: int, num_keys: int, offset: int | Tensor) -> Tensor:
    """The bias (T, S), or (B, T, S) when each row has its own offset."""
    if isinstance(offset, Tensor):
        position_S = torch.arange(num_keys, device=offset.device)
        return bias.between(query_positions(num_queries, offset, offset.device), position_S)
    values_D = bias.by_distance(1 - num_queries - offset, num_keys - 1 - offset)
    return values_D.unfold(0, num_keys, 1).flip(0)
