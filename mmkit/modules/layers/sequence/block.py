"""One transformer block: self-attention, cross-attention, feed-forward, each a residual branch with a norm."""

from typing import Any

from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.modules.layers.sequence.attention import SequenceAttention
from mmkit.modules.layers.sequence.cache import LayerCache
from mmkit.modules.layers.sequence.context import AttentionContext
from mmkit.modules.layers.sequence.feed_forward import FeedForward
from mmkit.modules.layers.sequence.norms import check_norm_position, make_norm


# Shapes: B batch, T positions, C those and the ones in the cache, S positions of the memory, D width, M width of the memory.


class Residual(nn.Module):
    """Add what a layer makes of its input, normed.

    ``pre`` (https://arxiv.org/abs/2002.04745): ``x + layer(norm(x))``; ``post`` (https://arxiv.org/abs/1706.03762):
    ``norm(x + layer(x))``; ``normformer`` (https://arxiv.org/abs/2110.09456, eq. 2): ``x + norm_after(layer(norm(x)))``.

    Args:
        layer: An attention or feed-forward layer with a last linear map ``output``.
        dim: Width D.
        normalization: ``"layernorm"`` or ``"rmsnorm"``.
        norm_position: ``"pre"``, ``"post"`` or ``"normformer"``.
        norm_after: Whether a NormFormer branch has its second norm here; its feed-forward layer has it inside.
        dropout: Probability of dropping a unit of what is added.
    """

    def __init__(
        self, layer: nn.Module, dim: int, normalization: str, norm_position: str, norm_after: bool, dropout: float
    ) -> None:
        super().__init__()
        check_norm_position(norm_position)
        self.norm_first = norm_position != "post"
        self.norm = make_norm(normalization, dim)
        self.layer = layer
        self.norm_after = make_norm(normalization, dim) if norm_after and norm_position == "normformer" else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, *arguments: Any) -> Tensor:
        """(B, T, D) to (B, T, D); further arguments go to the layer."""
        if self.norm_first:
            return x_BTD + self.dropout(self.norm_after(self.layer(self.norm(x_BTD), *arguments)))
        return self.norm(x_BTD + self.dropout(self.layer(x_BTD, *arguments)))


@external_store(group="modules/layers")
class SequenceBlock(nn.Module):
    """A transformer block of an encoder, a decoder (``causal``, ``cross_attention``) or a perceiver.

    Args:
        dim: Width D.
        num_heads: Attention heads; must divide ``dim``.
        self_attention: Whether positions see one another.
        cross_attention: Whether they see a memory.
        memory_dim: Width M of the memory. Default: ``dim``.
        causal: Whether a position sees only itself and earlier ones.
        position: ``"rotary"``, ``"alibi"`` or None, of the self-attention.
        ffn_hidden_size: Inner size of the feed-forward layer. Default: ``4 · dim``, two thirds of it for gated units.
        activation: ``"gelu"``, ``"geglu"`` or ``"swiglu"``.
        normalization: ``"layernorm"`` or ``"rmsnorm"``.
        norm_position: ``"pre"``, ``"post"`` or ``"normformer"``.
        dropout: Probability of dropping a unit of what a branch adds.
        attention_dropout: Probability of dropping an attention weight.

    Raises:
        ValueError: An unknown name, or ``num_heads`` does not divide ``dim``.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        self_attention: bool = True,
        cross_attention: bool = False,
        memory_dim: int | None = None,
        causal: bool = False,
        position: str | None = None,
        ffn_hidden_size: int | None = None,
        activation: str = "gelu",
        normalization: str = "layernorm",
        norm_position: str = "pre",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        normformer = norm_position == "normformer"
        shared = {"head_scale": normformer, "dropout": attention_dropout}
        around = {"normalization": normalization, "norm_position": norm_position, "dropout": dropout}
        self.self_attention = self.cross_attention = None
        if self_attention:
            attention = SequenceAttention(dim, num_heads, causal=causal, position=position, **shared)
            self.self_attention = Residual(attention, dim, norm_after=True, **around)
        if cross_attention:
            attention = SequenceAttention(dim, num_heads, memory_dim=memory_dim or dim, **shared)
            self.cross_attention = Residual(attention, dim, norm_after=True, **around)
        feed_forward = FeedForward(dim, ffn_hidden_size, activation, normalization if normformer else None)
        self.feed_forward = Residual(feed_forward, dim, norm_after=False, **around)

    def context(self, x_BTD: Tensor, mask_BC: Tensor | None = None, num_past: int = 0) -> AttentionContext:
        """What the self-attentions of equal blocks share; see :func:`attention_context`."""
        return self.self_attention.layer.context(x_BTD, mask_BC, num_past)  # pyright: ignore

    def forward(
        self,
        x_BTD: Tensor,
        mask_BC: Tensor | None = None,
        memory_BSM: Tensor | None = None,
        memory_mask_BS: Tensor | None = None,
        cache: LayerCache | None = None,
        context: AttentionContext | None = None,
    ) -> Tensor:
        """Transform positions: (B, T, D) to (B, T, D).

        Args:
            x_BTD: The positions; with a cache, the new ones.
            mask_BC: Nonzero where a position is real, of those in the cache too; None if all are.
            memory_BSM: What cross-attention reads.
            memory_mask_BS: Nonzero where it is real; None if all is.
            cache: What this block keeps between steps.
            context: From :meth:`context`, for blocks that share one; ``mask_BC`` is then not read.
        """
        if self.self_attention is not None:
            own = None if cache is None else cache.self_attention
            x_BTD = self.self_attention(x_BTD, mask_BC, None, None, own, context)
        if self.cross_attention is not None:
            own = None if cache is None else cache.cross_attention
            x_BTD = self.cross_attention(x_BTD, None, memory_BSM, memory_mask_BS, own)
        return self.feed_forward(x_BTD)
