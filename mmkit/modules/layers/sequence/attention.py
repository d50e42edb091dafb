"""Self- and cross-attention on PyTorch's fused kernels, with a cache."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.modules.layers.attention import attention_mask
from mmkit.modules.layers.sequence.cache import KeyValueCache
from mmkit.modules.layers.sequence.context import AttentionContext, attention_context
from mmkit.modules.layers.sequence.positions import rotate


# Shapes: B batch, H heads, T queries, S keys (of self-attention: the T new columns and those in the cache), D width,
# M width of the memory, K = D / H.

ATTENTION_POSITIONS = ("rotary", "alibi", None)


@external_store(group="modules/layers")
class SequenceAttention(nn.Module):
    """Multi-head attention (https://arxiv.org/abs/1706.03762): self-attention, or cross-attention with ``memory_dim``.

    Padding, in front or behind, never changes what a real position gets. Without a mask the fastest path of
    ``scaled_dot_product_attention`` is taken, so leave the mask away where all is real, and in causal self-attention where
    padding is behind: no real position sees it.

    Args:
        dim: Width D.
        num_heads: Number of heads H; must divide ``dim``.
        memory_dim: Width M of what cross-attention reads; None is self-attention.
        causal: Whether a position sees only itself and earlier ones.
        position: ``"rotary"`` (https://arxiv.org/abs/2104.09864), ``"alibi"`` (https://arxiv.org/abs/2108.12409) or None. For
            self-attention only: distances between positions of two sequences mean nothing.
        head_scale: Multiply every head's output by a learned factor, as NormFormer does (https://arxiv.org/abs/2110.09456).
        dropout: Probability of dropping an attention weight while training. Above 0 the fused kernel is not used on a CPU.

    Raises:
        ValueError: ``num_heads`` does not divide ``dim``, an unknown position, rotary heads of odd size, or cross-attention that
            is causal or has positions.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        memory_dim: int | None = None,
        causal: bool = False,
        position: str | None = None,
        head_scale: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(dim, num_heads, memory_dim, causal, position)
        self.num_heads, self.head_dim, self.dropout = num_heads, dim // num_heads, dropout
        self.memory_dim, self.causal, self.position = memory_dim, causal, position
        if memory_dim is None:
            self.qkv = nn.Linear(dim, 3 * dim)
        else:
            self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(memory_dim, 2 * dim)
        self.head_scale = nn.Parameter(torch.ones(num_heads)) if head_scale else None
        self.output = nn.Linear(dim, dim)

    def forward(
        self,
        x_BTD: Tensor,
        mask_BS: Tensor | None = None,
        memory_BSM: Tensor | None = None,
        memory_mask_BS: Tensor | None = None,
        cache: KeyValueCache | None = None,
        context: AttentionContext | None = None,
    ) -> Tensor:
        """Let every position gather from those it sees: (B, T, D) to (B, T, D).

        Args:
            x_BTD: The positions; with a cache, the new ones.
            mask_BS: Nonzero where a position is real, of those in the cache too; None if all are. For self-attention.
            memory_BSM: What cross-attention reads. May be None once it is in the cache.
            memory_mask_BS: Nonzero where the memory is real; None if all is. A row without real memory gathers zeros.
            cache: Keys and values so far; those of ``x_BTD``, or of the memory, are added.
            context: From :meth:`context`, for layers that share one; ``mask_BS`` is then not read.
        """
        if self.memory_dim is not None:
            return self._read_memory(x_BTD, memory_BSM, memory_mask_BS, cache)
        if context is None:
            context = self.context(x_BTD, mask_BS, 0 if cache is None else cache.length)
        q_BHTK, k_BHTK, v_BHTK = self._heads(self.qkv(x_BTD), 3)
        if context.rotation is not None:
            q_BHTK, k_BHTK = rotate(q_BHTK, *context.rotation), rotate(k_BHTK, *context.rotation)
        k_BHSK, v_BHSK = (k_BHTK, v_BHTK) if cache is None else cache.update(k_BHTK, v_BHTK)
        return self._output(self._attend(q_BHTK, k_BHSK, v_BHSK, context.mask, context.is_causal))

    def context(self, x_BTD: Tensor, mask_BS: Tensor | None = None, num_past: int = 0) -> AttentionContext:
        """What self-attentions with the same settings share; see :func:`attention_context`."""
        return attention_context(x_BTD, self.num_heads, self.head_dim, self.position, self.causal, mask_BS, num_past)

    def _read_memory(
        self, x_BTD: Tensor, memory_BSM: Tensor | None, memory_mask_BS: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        (q_BHTK,) = self._heads(self.query(x_BTD), 1)
        k_BHSK, v_BHSK = self._memory_heads(memory_BSM, cache)
        mixed_BHTK = self._attend(q_BHTK, k_BHSK, v_BHSK, attention_mask(memory_mask_BS))
        if memory_mask_BS is not None:
            mixed_BHTK = mixed_BHTK * memory_mask_BS.bool().any(dim=1)[:, None, None, None]
        return self._output(mixed_BHTK)

    def _memory_heads(self, memory_BSM: Tensor | None, cache: KeyValueCache | None) -> tuple[Tensor, Tensor]:
        if cache is not None and cache.length:
            return cache.read()
        if memory_BSM is None:
            raise ValueError("Cross-attention needs memory_BSM, (B, S, memory_dim), or a cache that holds it.")
        k_BHSK, v_BHSK = self._heads(self.key_value(memory_BSM), 2)
        return (k_BHSK, v_BHSK) if cache is None else cache.update(k_BHSK, v_BHSK)

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Cut (B, T, parts · D) into that many (B, H, T, K)."""
        return x.unflatten(-1, (parts, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4).unbind(0)

    def _attend(self, q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, mask: Tensor | None, is_causal: bool = False) -> Tensor:
        if mask is not None and mask.is_floating_point():
            mask = mask.to(q_BHTK.dtype)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q_BHTK, k_BHSK, v_BHSK, attn_mask=mask, dropout_p=dropout, is_causal=is_causal)

    def _output(self, mixed_BHTK: Tensor) -> Tensor:
        if self.head_scale is not None:
            mixed_BHTK = mixed_BHTK * self.head_scale[:, None, None].to(mixed_BHTK.dtype)
        return self.output(mixed_BHTK.transpose(1, 2).flatten(2))


def _check(dim: int, num_heads: int, memory_dim: int | None, causal: bool, position: str | None) -> None:
    if dim % num_heads:
        raise ValueError(f"num_heads={num_heads} must divide the width {dim}.")
    if position not in ATTENTION_POSITIONS:
        raise ValueError(f"Unknown position {position!r}. Allowed: {', '.join(map(repr, ATTENTION_POSITIONS))}.")
    if position == "rotary" and dim // num_heads % 2:
        raise ValueError(f"Rotary positions need heads of even size, not {dim} / {num_heads} = {dim // num_heads}.")
    if memory_dim is not None and (causal or position):
        raise ValueError(
            f"Cross-attention (memory_dim={memory_dim}) has no order: causal={causal}, position={position!r} must be False, None."
        )
