"""Moving-average gated attention: the heart of a Mega block (arXiv 2209.10655).

In the paper's symbols, with X the input of shape (L, D):

    X' = EMA(X)                      Z = silu(X' W_z + b_z)            V = silu(X W_v + b_v)
    Q = κ_q ⊙ Z + μ_q                K = κ_k ⊙ Z + μ_k                 O = f(Q K^T / τ + b_rel) V
    γ = silu(X' W_γ + b_γ)           φ = sigmoid(X' W_φ + b_φ)         (reset and update gates)
    Ĥ = silu(X' W_h + (γ ⊙ O) U_h + b_h)                               Y = φ ⊙ Ĥ + (1 - φ) ⊙ X
"""

# Shapes: B batch, L positions, P positions still pending in the moving average, C chunks, T queries and S keys of a chunk,
# D hidden size, H intermediate size, Z shared representation.
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.activations import ACT2FN

from mmkit.models.mega.attend import attend
from mmkit.models.mega.attend_once import attend_once
from mmkit.models.mega.cache_layer import MegaCacheLayer
from mmkit.models.mega.chunk_memory import ChunkMemory
from mmkit.models.mega.chunks import self_attend
from mmkit.models.mega.dropout import dropout_layer
from mmkit.models.mega.ema import MultiHeadEMA
from mmkit.models.mega.ema_step import can_step
from mmkit.models.mega.key_value_memory import Visible
from mmkit.models.mega.norms import SequenceNorm
from mmkit.models.mega.relative_bias import relative_bias


Attended = tuple[Tensor, Tensor | None]


class MovingAverageGatedAttention(nn.Module):
    """Single-head attention whose queries and keys come from the moving average of the input, with gates on what it adds.

    Args:
        config: Mega's configuration.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        d, h, z = config.hidden_size, config.intermediate_size, config.shared_representation_size
        self.widths = [d, z, h, d]
        self.prenorm = config.normalize_before_mega
        self.causal = config.is_decoder
        self.chunk_size = config.chunk_size if config.use_chunking else None
        self.attention_activation = config.attention_activation
        self.activation = ACT2FN[config.activation]
        self.dropout = dropout_layer(config.dropout_prob, config.use_feature_dropout)
        self.hidden_dropout = dropout_layer(config.hidden_dropout_prob, config.use_feature_dropout)
        self.attention_dropout = config.attention_probs_dropout_prob
        self.norm = SequenceNorm(config.normalization_type, d, affine=config.norm_affine)
        self.ema_gate = MultiHeadEMA(config)
        self.v_proj = nn.Linear(d, h)
        self.mx_proj = nn.Linear(d, sum(self.widths))
        self.h_proj = nn.Linear(h, d)
        self.qk_weight = nn.Parameter(torch.empty(2, z))
        self.qk_bias = nn.Parameter(torch.empty(2, z))
        self.rel_pos_bias = relative_bias(config)
        self.deviation = config.initializer_range
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the scales of queries and keys anew and clear their offsets."""
        init.normal_(self.qk_weight, std=self.deviation)
        init.zeros_(self.qk_bias)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that are scales and offsets in spite of their two dimensions."""
        return {"qk_weight", "qk_bias"}

    def forward(
        self,
        x_BLD: Tensor,
        mask_BL: Tensor | None = None,
        cache: MegaCacheLayer | None = None,
        output_attentions: bool = False,
    ) -> Attended:
        """Mix each position with those it may see.

        Args:
            x_BLD: Hidden states; with a cache, those of the new positions.
            mask_BL: True for real positions among them; None when all are.
            cache: What the layer remembers of earlier positions; takes in the new ones.
            output_attentions: Also give the weights.

        Returns:
            The new hidden states (B, L, D), and the weights (B, C, T, S) or None. New positions that continue a chunk give
            the weights of whole chunks.
        """
        residual_BLD = x_BLD
        x_BLD = self.norm(x_BLD, mask_BL) if self.prenorm else x_BLD
        v_BLH = self.activation(self.v_proj(x_BLD))  # V
        average_BLD = self.dropout(self.moving_average(x_BLD, mask_BL, cache))
        update_BLD, z_BLZ, gate_BLH, own_BLD = self.mx_proj(average_BLD).split_with_sizes(self.widths, -1)
        # One representation Z, scaled by κ and shifted by μ into queries and keys.
        q_BLZ, k_BLZ = (F.silu(z_BLZ).unsqueeze(-2) * self.qk_weight + self.qk_bias).unbind(-2)
        mixed_BLH, weights = self.attention(q_BLZ, k_BLZ, self.hidden_dropout(v_BLH), mask_BL, cache, output_attentions)
        # The reset gate γ on what was attended to (Ĥ), the update gate φ between that and the input (Y).
        candidate_BLD = self.dropout(self.activation(own_BLD + self.h_proj(mixed_BLH * F.silu(gate_BLH))))
        out_BLD = torch.lerp(residual_BLD, candidate_BLD.to(residual_BLD.dtype), update_BLD.sigmoid().to(residual_BLD.dtype))
        return (out_BLD if self.prenorm else self.norm(out_BLD, mask_BL)), weights

    def moving_average(self, x_BLD: Tensor, mask_BL: Tensor | None, cache: MegaCacheLayer | None) -> Tensor:
        """The moving average of the inputs so far, at the new positions."""
        if cache is None:
            return self.ema_gate(x_BLD, mask_BL)[0]
        if cache.ema.pending_BPD is not None:
            cache.ema.settle(self.ema_gate(cache.ema.pending_BPD, None, cache.ema.state, return_state=True)[1])
        state = cache.ema.state
        if state is not None and can_step(self.ema_gate, x_BLD):
            y_BLD, state = cache.ema_step(self.ema_gate, x_BLD, mask_BL, state)
        else:
            y_BLD, state = self.ema_gate(x_BLD, mask_BL, state, return_state=True)
        masked_BLD = x_BLD if mask_BL is None else x_BLD * mask_BL.unsqueeze(-1)
        cache.ema.advance(masked_BLD, state, cache.record_past)
        return y_BLD

    def attention(
        self,
        q_BLZ: Tensor,
        k_BLZ: Tensor,
        v_BLH: Tensor,
        mask_BL: Tensor | None,
        cache: MegaCacheLayer | None,
        output_attentions: bool,
    ) -> Attended:
        """Attend from the new positions to themselves and to what the cache holds; add them to it."""
        if cache is None:
            return self.attend_to_new(q_BLZ, k_BLZ, v_BLH, mask_BL, output_attentions=output_attentions)
        memory = cache.attention
        if not cache.is_initialized:
            memory.append(k_BLZ, v_BLH, mask_BL, cache.record_past)
            return self.attend_to_new(q_BLZ, k_BLZ, v_BLH, mask_BL, output_attentions=output_attentions)
        if isinstance(memory, ChunkMemory) and q_BLZ.shape[1] > 1:
            longer = memory.with_history(k_BLZ, v_BLH, mask_BL)
            memory.append(k_BLZ, v_BLH, mask_BL, cache.record_past)
            past = longer.keys_BLZ.shape[1] - q_BLZ.shape[1]
            y, weights = self.attend_to_new(F.pad(q_BLZ, (0, 0, past, 0)), *longer, output_attentions=output_attentions)
            return y[:, past:], weights
        seen = memory.append(k_BLZ, v_BLH, mask_BL, cache.record_past)
        y_BLH, weights_BLS = self.attend_to_seen(q_BLZ, seen, cache, output_attentions)
        return y_BLH, None if weights_BLS is None else weights_BLS.unsqueeze(1)

    def attend_to_seen(self, q_BLZ: Tensor, seen: Visible, cache: MegaCacheLayer, output_attentions: bool) -> Attended:
        """Attend from the new positions to keys of the cache, which end with their own."""
        if q_BLZ.shape[1] == 1 and not self.training:
            num_keys = seen.keys_BSZ.shape[1]
            bias_XS = cache.bias.row(self.rel_pos_bias, seen.offset, num_keys, farthest=num_keys - 1)
            return attend_once(q_BLZ, seen, bias_XS, self.attention_activation, causal=True)
        return attend(
            q_BLZ,
            seen.keys_BSZ,
            seen.values_BSH,
            self.rel_pos_bias,
            self.attention_activation,
            causal=True,
            mask_BS=seen.mask_BS,
            offset=seen.offset,
            first_B=0 if seen.first_B is None else seen.first_B,
            dropout_p=self.attention_dropout if self.training else 0.0,
            return_weights=output_attentions,
        )

    def attend_to_new(
        self,
        q_BLZ: Tensor,
        k_BLZ: Tensor,
        v_BLH: Tensor,
        mask_BL: Tensor | None,
        start_B: Tensor | None = None,
        *,
        output_attentions: bool,
    ) -> Attended:
        """Attend among positions of which the first begins a chunk, or the one at ``start_B`` of each row."""
        return self_attend(
            q_BLZ,
            k_BLZ,
            v_BLH,
            self.rel_pos_bias,
            self.attention_activation,
            causal=self.causal,
            chunk_size=self.chunk_size,
            mask_BL=mask_BL,
            start_B=start_B,
            dropout_p=self.attention_dropout if self.training else 0.0,
            return_weights=output_attentions,
        )
