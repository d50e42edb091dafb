"""A transformer encoder without embeddings."""

from typing import Any

from torch import Tensor, nn

from mmkit.modules.layers.sequence.block import SequenceBlock
from mmkit.modules.layers.sequence.norms import final_norm
from mmkit.modules.layers.sequence.recompute import run_block


# Shapes: B batch, L positions, D width.


class BlockStack(nn.Module):
    """Blocks of self-attention one after the other, and the last norm; with torch's initial weights.

    Args:
        dim: Width D.
        num_heads: Attention heads; must divide ``dim``.
        num_layers: Number of blocks; ``0`` is the norm alone.
        normalization: ``"layernorm"`` or ``"rmsnorm"``.
        norm_position: ``"pre"``, ``"post"`` or ``"normformer"``.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        options: Further arguments of :class:`SequenceBlock`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_layers: int,
        normalization: str = "layernorm",
        norm_position: str = "pre",
        gradient_checkpointing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        options |= {"normalization": normalization, "norm_position": norm_position}
        self.gradient_checkpointing = gradient_checkpointing
        self.blocks = nn.ModuleList(SequenceBlock(dim, num_heads, **options) for _ in range(num_layers))
        self.norm = final_norm(normalization, norm_position, dim)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """Transform positions: (B, L, D) to (B, L, D).

        Args:
            x_BLD: The positions.
            mask_BL: Nonzero where a position is real; None if all are.
        """
        context = self.blocks[0].context(x_BLD, mask_BL) if len(self.blocks) else None  # pyright: ignore
        for block in self.blocks:
            x_BLD = run_block(block, self.gradient_checkpointing, x_BLD, None, None, None, None, context)
        return self.norm(x_BLD)
