"""Attention that keeps one block of weights at a time, forwards and backwards.

Memory grows with the length instead of its square. The weights are computed again in the backward pass, with derivatives in
closed form. A block stays in the cache of a processor, so there this is the fastest way, too.
"""

# Shapes: B batch, T queries, S keys, Z shared representation, H values, D distances, R and W those of row_blocks.bias_strip;
# b, t, s: those of one block.
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmkit.models.mega.attention_functions import LAPLACE_MEAN, AttentionActivation
from mmkit.models.mega.drop import keep_mask, keep_scale
from mmkit.models.mega.precision import without_autocast
from mmkit.models.mega.row_blocks import Block, bias_strip, biased_scores, blocks, hide_future_


FLAT = -60.0
ROOT_2PI = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class Rules:
    """What a call is made of, beside its tensors.

    Args:
        activation: Name of the function from scores to weights.
        offset: Position of the first query where attention is causal (0 or more), else None.
        dropout_p: Part of the weights that is set to zero.
    """

    activation: AttentionActivation
    offset: int | None
    dropout_p: float = 0.0


def attend_in_blocks(
    q_BTZ: Tensor, k_BSZ: Tensor, v_BSH: Tensor, values_D: Tensor, mask_BS: Tensor | None, rules: Rules
) -> Tensor:
    """Mix the values (B, T, H).

    Args:
        q_BTZ: Queries, scaled.
        k_BSZ: Keys.
        v_BSH: Values.
        values_D: Bias by distance (T + S - 1,), from the last query's distance to the first key on.
        mask_BS: True for real keys.
        rules: The rest.
    """
    key_bias_B1S = None
    if mask_BS is not None:
        # Element attention needs no more than values of zero. So does a softmax that sees only padding.
        v_BSH = v_BSH * mask_BS.unsqueeze(-1)
        if rules.activation == "softmax":
            lowest = torch.finfo(values_D.dtype).min / 2  # with a score added, still finite
            key_bias_B1S = torch.zeros(mask_BS.shape, dtype=values_D.dtype, device=mask_BS.device)
            key_bias_B1S = key_bias_B1S.masked_fill_(~mask_BS, lowest).unsqueeze(1)
    if rules.activation == "laplace":
        # (1 + erf(z)) / 2 with z = sqrt(2 pi) (score - mean): the factors go to what is small.
        q_BTZ, values_D, v_BSH = q_BTZ * ROOT_2PI, (values_D - LAPLACE_MEAN) * ROOT_2PI, 0.5 * v_BSH
    return _AttendInBlocks.apply(rules, q_BTZ, k_BSZ, v_BSH, bias_strip(values_D, q_BTZ.shape[1]), key_bias_B1S)


class _AttendInBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rules: Rules, q_BTZ: Tensor, k_BSZ: Tensor, v_BSH: Tensor, strip: Tensor, key_bias: Tensor | None):
        y_BTH = v_BSH.new_empty(*q_BTZ.shape[:2], v_BSH.shape[-1])
        kept: list[Tensor] = []
        with without_autocast(q_BTZ.device.type):
            for block in blocks(q_BTZ, k_BSZ, rules.offset):
                weights_bts = weights_(block_scores(block, q_BTZ, k_BSZ, strip, key_bias, rules.offset), rules.activation)
                if rules.dropout_p:
                    kept.append(keep_mask(weights_bts, rules.dropout_p))
                    weights_bts.mul_(keep_scale(kept[-1], rules.dropout_p, weights_bts.dtype))
                torch.bmm(weights_bts.to(v_BSH.dtype), block.of_keys(v_BSH), out=block.of_queries(y_BTH))
        ctx.save_for_backward(q_BTZ, k_BSZ, v_BSH, strip, key_bias, y_BTH, *kept)
        ctx.rules = rules
        return y_BTH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_BTZ, k_BSZ, v_BSH, strip, key_bias, y_BTH, *kept = ctx.saved_tensors
        dq_BTZ, dk_BSZ, dv_BSH, dstrip = (torch.zeros_like(x) for x in (q_BTZ, k_BSZ, v_BSH, strip))
        rules: Rules = ctx.rules
        with without_autocast(q_BTZ.device.type):
            for index, block in enumerate(blocks(q_BTZ, k_BSZ, rules.offset)):
                scores_bts = block_scores(block, q_BTZ, k_BSZ, strip, key_bias, rules.offset)
                weights_bts, slope_bts = weights_and_slope_(scores_bts, rules.activation)
                dy_btH = block.of_queries(grads[0])
                dscores_bts = (dy_btH @ block.of_keys(v_BSH).transpose(1, 2)).to(weights_bts.dtype)
                if rules.dropout_p:
                    scale_bts = keep_scale(kept[index], rules.dropout_p, weights_bts.dtype)
                    dscores_bts.mul_(scale_bts)
                    weights_bts = scale_bts.mul_(weights_bts)
                block.of_keys(dv_BSH).baddbmm_(weights_bts.to(dy_btH.dtype).transpose(1, 2), dy_btH)
                if rules.activation == "softmax":
                    mean_bt1 = (dy_btH.to(dscores_bts.dtype) * block.of_queries(y_BTH)).sum(-1, keepdim=True)
                    dscores_bts.sub_(mean_bt1)
                dscores_bts.mul_(slope_bts)
                block.of_strip(dstrip).add_(dscores_bts.sum(0))
                dscores_bts = dscores_bts.to(q_BTZ.dtype)
                torch.bmm(dscores_bts, block.of_keys(k_BSZ), out=block.of_queries(dq_BTZ))
                block.of_keys(dk_BSZ).baddbmm_(dscores_bts.transpose(1, 2), block.of_queries(q_BTZ))
        return None, dq_BTZ, dk_BSZ, dv_BSH, dstrip, None


def block_scores(
    block: Block, q_BTZ: Tensor, k_BSZ: Tensor, strip_RW: Tensor, key_bias_B1S: Tensor | None, offset: int | None
) -> Tensor:
    """Scores (b, t, s) of a block: -inf in the future, the lowest number at padding."""
    scores_bts = biased_scores(block.of_queries(q_BTZ), block.of_keys(k_BSZ), block.of_strip(strip_RW))
    if key_bias_B1S is not None:
        scores_bts.add_(key_bias_B1S[block.batch, :, : block.num_keys])
    if offset is not None:
        hide_future_(scores_bts, block, offset)
    return scores_bts


def weights_(scores_bts: Tensor, activation: AttentionActivation) -> Tensor:
    """Weights in the place of scores: softmax, 1 + erf, or the square of what is positive."""
    if activation == "softmax":
        return torch.softmax(scores_bts, -1, out=scores_bts)
    if activation == "laplace":
        return scores_bts.erf_().add_(1)
    scores_bts.relu_()
    return scores_bts.mul_(scores_bts)


def weights_and_slope_(scores_bts: Tensor, activation: AttentionActivation) -> tuple[Tensor, Tensor]:
    """Weights, and what turns their gradient (for softmax: less its mean) into that of the scores, which it may overwrite."""
    if activation == "softmax":
        weights_bts = weights_(scores_bts, activation)
        return weights_bts, weights_bts
    if activation == "laplace":
        # Denormal numbers take ten times as long: far from the mean, the slope is nothing.
        slope_bts = scores_bts.square().neg_().clamp_(min=FLAT).exp_()
        slope_bts = torch.threshold_(slope_bts, 2 * math.exp(FLAT), 0.0).mul_(2 / math.sqrt(math.pi))
        return weights_(scores_bts, activation), slope_bts
    slope_bts = scores_bts.relu_().mul(2)
    return weights_(scores_bts, activation), slope_bts
