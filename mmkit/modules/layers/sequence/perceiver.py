"""A perceiver: learned queries read a sequence of any length into a fixed number of positions."""

from typing import Any

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.modules.layers.sequence.block import SequenceBlock
from mmkit.modules.layers.sequence.initialization import INITIALIZER_RANGE, init_sequence_weights
from mmkit.modules.layers.sequence.norms import final_norm, make_norm
from mmkit.modules.layers.sequence.recompute import run_block


# Shapes: B batch, L positions of the memory, M its width, S hidden positions, D width.


@external_store(group="modules/layers")
class Perceiver(nn.Module):
    """Read a sequence into ``hidden_steps`` positions (https://arxiv.org/abs/2103.03206).

    Every layer is one block of cross-attention from the hidden positions to the sequence and then
    ``num_self_attention_per_cross_attention`` blocks of self-attention among them, as in the paper's figure 1, without shared
    weights. Cross-attention sees the sequence as a set: its vectors must tell their positions themselves.

    Args:
        dim: Width D of the hidden positions.
        num_heads: Attention heads; must divide ``dim``.
        hidden_steps: Number S of hidden positions.
        num_layers: Number of cross-attentions.
        num_self_attention_per_cross_attention: Blocks of self-attention after each; may be 0.
        memory_dim: Width M of the sequence. Default: ``dim``.
        ffn_hidden_size: Inner size of the feed-forward layers. Default: ``4 · dim``, two thirds of it for gated units.
        activation: ``"gelu"``, ``"geglu"`` or ``"swiglu"``.
        normalization: ``"layernorm"`` or ``"rmsnorm"``.
        norm_position: ``"pre"``, ``"post"`` or ``"normformer"``.
        dropout: Probability of dropping a unit of what a branch adds.
        attention_dropout: Probability of dropping an attention weight.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        initializer_range: Standard deviation of the initial weights and hidden positions.

    Raises:
        ValueError: A number of steps or layers below 1, or what :class:`SequenceBlock` refuses.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden_steps: int,
        num_layers: int = 1,
        num_self_attention_per_cross_attention: int = 1,
        memory_dim: int | None = None,
        ffn_hidden_size: int | None = None,
        activation: str = "gelu",
        normalization: str = "layernorm",
        norm_position: str = "pre",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        gradient_checkpointing: bool = False,
        initializer_range: float = INITIALIZER_RANGE,
    ) -> None:
        super().__init__()
        if min(hidden_steps, num_layers) < 1 or num_self_attention_per_cross_attention < 0:
            raise ValueError(
                f"hidden_steps={hidden_steps} and num_layers={num_layers} must be 1 or more, "
                f"num_self_attention_per_cross_attention={num_self_attention_per_cross_attention} 0 or more."
            )
        options: dict[str, Any] = {
            "ffn_hidden_size": ffn_hidden_size,
            "activation": activation,
            "normalization": normalization,
            "norm_position": norm_position,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
        }
        reader = {"self_attention": False, "cross_attention": True, "memory_dim": memory_dim or dim}
        layer = [reader] + [{}] * num_self_attention_per_cross_attention
        self.gradient_checkpointing = gradient_checkpointing
        self.latents = nn.Parameter(_latents(hidden_steps, dim, initializer_range))
        self.memory_norm = make_norm(normalization, memory_dim or dim)
        self.blocks = nn.ModuleList(SequenceBlock(dim, num_heads, **kind, **options) for kind in layer * num_layers)
        self.norm = final_norm(normalization, norm_position, dim)
        init_sequence_weights(self, initializer_range)

    def no_weight_decay(self) -> set[str]:
        """The latents are not decayed: they stand for positions."""
        return {"latents"}

    def forward(self, memory_BLM: Tensor, memory_mask_BL: Tensor | None = None) -> Tensor:
        """Read a sequence (B, L, M) into (B, S, D), normed.

        Args:
            memory_BLM: The sequence.
            memory_mask_BL: Nonzero where it is real; None if all is. A row without any gives what the hidden positions are alone.
        """
        memory_BLM = self.memory_norm(memory_BLM)
        x_BSD = self.latents.expand(len(memory_BLM), -1, -1)
        for block in self.blocks:
            x_BSD = run_block(block, self.gradient_checkpointing, x_BSD, None, memory_BLM, memory_mask_BL)
        return self.norm(x_BSD)


def _latents(hidden_steps: int, dim: int, std: float) -> Tensor:
    """Drawn from a normal distribution that is cut at two deviations, as the paper's."""
    return nn.init.trunc_normal_(torch.empty(hidden_steps, dim), std=std, a=-2 * std, b=2 * std)
