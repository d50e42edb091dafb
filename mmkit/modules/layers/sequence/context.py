"""What the self-attentions of a stack of blocks share, computed once: who sees whom, and where everyone stands."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.modules.layers.sequence.positions import alibi_bias, rotation


# Shapes: B batch, H heads, T queries, S keys (the T new columns and those before them), K dim of a head.


@dataclass(frozen=True)
class AttentionContext:
    """How queries look at keys.

    Attributes:
        mask: As ``scaled_dot_product_attention`` takes it, (B or 1, H or 1, T or 1, S): booleans, True where a key is seen, or a
            bias; None where every key is seen, or every earlier one.
        is_causal: Whether ``scaled_dot_product_attention`` shall hide the future itself, on its fastest path.
        rotation: Cosine and sine (T, K) for queries and new keys; None without rotary positions.
    """

    mask: Tensor | None = None
    is_causal: bool = False
    rotation: tuple[Tensor, Tensor] | None = None


def attention_context(
    x: Tensor,
    num_heads: int,
    head_dim: int,
    position: str | None = None,
    causal: bool = False,
    mask_BS: Tensor | None = None,
    num_past: int = 0,
) -> AttentionContext:
    """The context of one forward pass.

    Args:
        x: The new columns (B, T, …); says device and precision.
        num_heads: ``H``.
        head_dim: ``K``.
        position: ``"rotary"``, ``"alibi"`` or None.
        causal: Whether a query sees only itself and earlier columns.
        mask_BS: Nonzero where a column is real, of all columns; None if all are.
        num_past: Columns in the cache.

    Raises:
        ValueError: The mask is not as long as there are columns.
    """
    num_new = x.shape[1]
    if mask_BS is not None and mask_BS.shape[1] != num_past + num_new:
        raise ValueError(
            f"The mask has {mask_BS.shape[1]} columns, but there are {num_new} tokens and {num_past} in the cache. It must cover "
            f"all {num_past + num_new}."
        )
    angles = rotation(num_new, num_past, head_dim, x) if position == "rotary" else None
    if position == "alibi":
        bias_HTS = alibi_bias(num_heads, num_new, num_past, x.device, compute_dtype(x))
        visible = visible_keys(mask_BS, num_new, num_past, causal, x.device)
        return AttentionContext(bias_HTS[None] if visible is None else bias_HTS.masked_fill(~visible, float("-inf")))
    if mask_BS is None and causal and num_past == 0:
        return AttentionContext(None, True, angles)
    return AttentionContext(visible_keys(mask_BS, num_new, num_past, causal, x.device), False, angles)


def visible_keys(mask_BS: Tensor | None, num_new: int, num_past: int, causal: bool, device: torch.device) -> Tensor | None:
    """Which of all columns each of the new ones sees, (B or 1, 1, T or 1, S); None if all.

    A query that sees nothing (a row of padding, or padding in front) would be NaN in some kernels: it sees all, nobody reads it.
    """
    visible = None if mask_BS is None else mask_BS.bool()[:, None, None, :]
    if causal and num_new > 1:
        ones_TS = torch.ones(num_new, num_past + num_new, dtype=torch.bool, device=device)
        past_TS = ones_TS.tril(num_past)[None, None]
        visible = past_TS if visible is None else visible & past_TS
    return visible if mask_BS is None or visible is None else visible | ~visible.any(dim=-1, keepdim=True)


def compute_dtype(x: Tensor) -> torch.dtype:
    """The precision in which linear maps of ``x`` come out."""
    device_type = x.device.type
    autocast = device_type != "meta" and torch.is_autocast_enabled(device_type)
    return torch.get_autocast_dtype(device_type) if autocast else x.dtype
