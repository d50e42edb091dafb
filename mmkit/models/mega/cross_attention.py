"""Gated attention from a decoder to the output of an encoder (Mega, arXiv 2209.10655)."""

# Shapes: B batch, L positions, S source positions, D hidden size, Z shared representation.
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from mmkit.models.mega.attend import attend
from mmkit.models.mega.attend_once import attend_once
from mmkit.models.mega.cache_layer import MegaCacheLayer
from mmkit.models.mega.dropout import dropout_layer
from mmkit.models.mega.key_value_memory import Visible
from mmkit.models.mega.norms import SequenceNorm
from mmkit.models.mega.relative_bias import relative_bias
from mmkit.models.mega.row_positions import leading_pads


class GatedCrossAttention(nn.Module):
    """Attention to a source, with a gate on what was attended to and one between it and the input.

    Args:
        config: Mega's configuration.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        d, z = config.hidden_size, config.shared_representation_size
        self.widths = [d, d, z]
        self.prenorm = config.normalize_before_mega
        self.attention_activation = config.attention_activation
        self.activation = ACT2FN[config.activation]
        self.dropout = dropout_layer(config.dropout_prob, config.use_feature_dropout)
        self.hidden_dropout = dropout_layer(config.hidden_dropout_prob, config.use_feature_dropout)
        self.attention_dropout = config.attention_probs_dropout_prob
        self.norm = SequenceNorm(config.normalization_type, d, affine=config.norm_affine)
        self.k_proj = nn.Linear(d, z)
        self.v_proj = nn.Linear(d, d)
        self.q_proj = nn.Linear(d, sum(self.widths))
        self.h_proj = nn.Linear(d, d)
        self.rel_pos_bias = relative_bias(config, chunked=False)

    def forward(
        self,
        x_BLD: Tensor,
        memory_BSD: Tensor | None,
        memory_mask_BS: Tensor | None = None,
        cache: MegaCacheLayer | None = None,
        output_attentions: bool = False,
        mask_BL: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Add to each position what it finds in the source.

        Args:
            x_BLD: Hidden states; with a cache, those of the new positions (self-attention has counted them already).
            memory_BSD: Output of the encoder. With a cache it is read in the first step only and may be None afterwards.
            memory_mask_BS: True for real source positions; None when all are. Read in the first step only, too.
            cache: Holds the projected source.
            output_attentions: Also give the weights.
            mask_BL: True for real positions; positions are counted from the first of each row.

        Returns:
            The new hidden states (B, L, D), and the weights (B, L, S) or None.
        """
        residual_BLD = x_BLD
        x_BLD = self.norm(x_BLD, mask_BL) if self.prenorm else x_BLD
        update_BLD, gate_BLD, q_BLZ = self.q_proj(x_BLD).split(self.widths, dim=-1)
        k_BSZ, v_BSD, memory_mask_BS = self.source(memory_BSD, memory_mask_BS, cache)
        positions = x_BLD.shape[1] if cache is None else cache.get_seq_length()
        self.rel_pos_bias.check_distance(max(positions, k_BSZ.shape[1]) - 1)
        source = Visible(k_BSZ, v_BSD, memory_mask_BS, first_position(x_BLD.shape[1], mask_BL, cache))
        found_BLD, weights_BLS = self.attention(q_BLZ, source, cache, output_attentions)
        candidate_BLD = self.dropout(self.activation(self.h_proj(found_BLD * F.silu(gate_BLD))))
        out_BLD = torch.lerp(residual_BLD, candidate_BLD.to(residual_BLD.dtype), update_BLD.sigmoid().to(residual_BLD.dtype))
        return (out_BLD if self.prenorm else self.norm(out_BLD, mask_BL)), weights_BLS

    def attention(
        self, q_BLZ: Tensor, source: Visible, cache: MegaCacheLayer | None, output_attentions: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from the new positions to the source."""
        if cache is not None and q_BLZ.shape[1] == 1 and not self.training:
            num_keys, farthest = source.keys_BSZ.shape[1], cache.get_seq_length() - 1
            bias_XS = cache.cross_bias.row(self.rel_pos_bias, source.offset, num_keys, farthest)
            return attend_once(q_BLZ, source, bias_XS, self.attention_activation, causal=False)
        return attend(
            q_BLZ,
            source.keys_BSZ,
            source.values_BSH,
            self.rel_pos_bias,
            self.attention_activation,
            causal=False,
            mask_BS=source.mask_BS,
            offset=source.offset,
            dropout_p=self.attention_dropout if self.training else 0.0,
            return_weights=output_attentions,
        )

    def source(
        self, memory_BSD: Tensor | None, mask_BS: Tensor | None, cache: MegaCacheLayer | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys, values and mask of the source: from the cache, or computed and put there."""
        if cache is not None and cache.cross.keys is not None and cache.cross.values is not None:
            mask_BS = mask_BS if cache.cross.mask is None else cache.cross.mask
            return cache.cross.keys, cache.cross.values, mask_BS
        if memory_BSD is None:
            raise ValueError(
                "This model attends to an encoder (add_cross_attention=True), but got no encoder_hidden_states. "
                "Give them, at least in the first step with a cache."
            )
        k_BSZ = self.k_proj(memory_BSD)
        v_BSD = self.hidden_dropout(self.activation(self.v_proj(memory_BSD)))
        if cache is not None:
            cache.cross.keys, cache.cross.values, cache.cross.mask = k_BSZ, v_BSD, mask_BS
        return k_BSZ, v_BSD, mask_BS


def first_position(length: int, mask_BL: Tensor | None, cache: MegaCacheLayer | None) -> int | Tensor:
    """Where the first of ``length`` positions stands: one for all rows, or one a row where rows begin with padding."""
    if cache is not None:
        return cache.attention.positions.before(length)
    return 0 if mask_BL is None else -leading_pads(mask_BL)
