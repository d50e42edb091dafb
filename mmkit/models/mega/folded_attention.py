"""Softmax attention with the relative bias inside queries and keys, so that fused kernels need no matrix of biases or masks.

The rotary bias is a product of two vectors, one of the query's position and one of the key's (arXiv 2209.10655, rotary bias). Put
behind queries and keys, it becomes part of their product. So does a number for each key, the lowest one for padding.
"""

# Shapes: B batch, T queries, S keys, Z shared representation, H values, F = 2 Z + 8 folded features.
import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.models.mega.relative_bias import RotaryRelativePositionalBias


MASK_FEATURES = 8  # one does it; kernels want a multiple of 8


def attend_folded(
    q_BTZ: Tensor,
    k_BSZ: Tensor,
    v_BSH: Tensor,
    bias: RotaryRelativePositionalBias,
    *,
    causal: bool,
    mask_BS: Tensor | None,
    offset: int,
    dropout_p: float,
) -> Tensor:
    """Mix the values (B, T, H) by softmax attention.

    Args:
        q_BTZ: Queries, scaled.
        k_BSZ: Keys.
        v_BSH: Values.
        bias: The bias to fold.
        causal: Hide the keys after a query's own position; only with an offset of 0.
        mask_BS: True for real keys.
        offset: Position of the first query, counted from the first key.
        dropout_p: Part of the weights that is set to zero.
    """
    query_T = torch.arange(q_BTZ.shape[1], device=q_BTZ.device) + offset
    key_S = torch.arange(k_BSZ.shape[1], device=q_BTZ.device)
    q_BTF, k_BSF = (append(x, rotated) for x, rotated in zip((q_BTZ, k_BSZ), bias.fold(query_T, key_S), strict=True))
    if mask_BS is not None:
        # A query that sees only padding weighs it all the same: its values are zero.
        v_BSH = v_BSH * mask_BS.unsqueeze(-1)
        lowest_BS = torch.zeros_like(k_BSF[..., 0]).masked_fill(~mask_BS, torch.finfo(k_BSF.dtype).min / 2)
        q_BTF = F.pad(F.pad(q_BTF, (0, 1), value=1.0), (0, MASK_FEATURES - 1))
        k_BSF = F.pad(torch.cat([k_BSF, lowest_BS.unsqueeze(-1)], dim=-1), (0, MASK_FEATURES - 1))
    q_B1TF, k_B1SF, v_B1SH = (x.unsqueeze(1) for x in (q_BTF, k_BSF, v_BSH))
    y_B1TH = F.scaled_dot_product_attention(q_B1TF, k_B1SF, v_B1SH, dropout_p=dropout_p, is_causal=causal, scale=1.0)
    return y_B1TH.squeeze(1)


def append(x_BTZ: Tensor, rotated_TZ: Tensor) -> Tensor:
    """``x_BTZ`` with the same further features in every row of the batch."""
    return torch.cat([x_BTZ, rotated_TZ.to(x_BTZ.dtype).expand(x_BTZ.shape[0], -1, -1)], dim=-1)
