"""One Mega block: gated attention over moving averages, cross-attention in a decoder, feed-forward (figure 2 of the paper)."""

from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from mmkit.models.mega.cache import MegaCacheLayer
from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.cross_attention import GatedCrossAttention
from mmkit.models.mega.feed_forward import NormalizedFeedForward
from mmkit.models.mega.gated_attention import MovingAverageGatedAttention


# Shapes: B batch, L positions, S source positions, D hidden_size, C chunks, T positions of a chunk.
class MegaBlock(GradientCheckpointingLayer):
    """The sub-layers of one block, each with its own residual connection and norm."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__()
        self.mega_layer = MovingAverageGatedAttention(config)
        self.cross_attn = GatedCrossAttention(config) if config.add_cross_attention else None
        self.nffn = NormalizedFeedForward(config) if config.use_normalized_ffn else None

    def forward(
        self,
        x_BLD: Tensor,
        mask_BL: Tensor | None = None,
        memory_BSD: Tensor | None = None,
        memory_mask_BS: Tensor | None = None,
        past_key_values: MegaCacheLayer | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Transform a sequence.

        Args:
            x_BLD: The sequence, or its new part with a cache.
            mask_BL: ``True`` at its real positions; all are real without it.
            memory_BSD: What cross-attention reads; may be ``None`` once the cache holds it.
            memory_mask_BS: ``True`` at the real positions of the memory.
            past_key_values: This layer's cache. Gradient checkpointing knows it by this name, and takes it away.
            output_attentions: Return the attention weights.

        Returns:
            The sequence (B, L, D), self-attention weights (B, C, T, T) and cross-attention weights (B, L, S) or ``None``.
        """
        cross_weights_BLS = None
        x_BLD, weights_BCTT = self.mega_layer(x_BLD, mask_BL, past_key_values, output_attentions)
        if self.cross_attn is not None:
            x_BLD, cross_weights_BLS = self.cross_attn(
                x_BLD, memory_BSD, memory_mask_BS, past_key_values, output_attentions, mask_BL
            )
        if self.nffn is not None:
            x_BLD = self.nffn(x_BLD, mask_BL)
        return x_BLD, weights_BCTT, cross_weights_BLS
