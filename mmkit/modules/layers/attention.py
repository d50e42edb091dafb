"""Multi-head self-attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store


# Shapes: B batch, N tokens, H heads, D embedding dim, K = D / H.


def attention_mask(mask_BN: Tensor | None, causal: bool = False) -> Tensor | None:
    """Which key each query may see, as ``scaled_dot_product_attention`` takes it: (B, 1, 1 or N, N), or None for all.

    Args:
        mask_BN: Nonzero where a token is real; None if all are.
        causal: Whether a query sees only itself and earlier keys.
    """
    if mask_BN is None:
        return None
    visible = mask_BN.bool()[:, None, None, :]
    if causal:
        num_tokens = mask_BN.shape[1]
        visible = visible & torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=mask_BN.device).tril()
    # a query that sees nothing (empty text, padding on the left) would be NaN in some kernels: let it see all, nobody reads it
    return visible | ~visible.any(dim=-1, keepdim=True)


@external_store(group="modules/layers")
class Attention(nn.Module):
    """Self-attention over real tokens (https://arxiv.org/abs/1706.03762), on PyTorch's fused kernels.

    Args:
        dim: Embedding size D.
        num_heads: Number of heads; must divide ``dim``.
        causal: Whether a token sees only itself and earlier tokens.
        dropout: Probability of dropping an attention weight while training.
        bias: Whether query, key and value have a bias.

    Raises:
        ValueError: ``num_heads`` does not divide ``dim``.
    """

    def __init__(self, dim: int, num_heads: int, causal: bool = False, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide the embedding size {dim}.")
        self.num_heads, self.causal, self.dropout = num_heads, causal, dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Mix tokens: (B, N, D) to (B, N, D).

        Args:
            x_BND: Tokens.
            mask_BN: Nonzero where a token is real; the others are seen by nobody, and what they return means nothing.
        """
        q_BHNK, k_BHNK, v_BHNK = self.qkv(x_BND).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = attention_mask(mask_BN, self.causal)
        mixed_BHNK = F.scaled_dot_product_attention(
            q_BHNK,
            k_BHNK,
            v_BHNK,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal and mask is None,
        )
        return self.proj(mixed_BHNK.transpose(1, 2).flatten(2))
