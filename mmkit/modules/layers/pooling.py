"""From one vector per token to one vector per example."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.modules.layers.attention import attention_mask
from mmkit.modules.layers.mlp import MLP


# Shapes: B batch, N tokens, D embedding dim, H heads, K = D / H.


def cls_pool(x_BND: Tensor) -> Tensor:
    """The first token: (B, D)."""
    return x_BND[:, 0]


def mean_pool(x_BND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Average the tokens that ``mask_BN`` keeps; an example without any gives zeros.

    Example:
        >>> mean_pool(torch.ones(1, 2, 3), torch.tensor([[1, 0]]))
        tensor([[1., 1., 1.]])
    """
    if mask_BN is None:
        return x_BND.mean(dim=1)
    weight_BN1 = mask_BN.unsqueeze(-1).to(x_BND.dtype)
    return (x_BND * weight_BN1).sum(1) / weight_BN1.sum(1).clamp(min=1)


def last_pool(x_BND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """The last token that ``mask_BN`` keeps, wherever the padding stands: (B, D)."""
    if mask_BN is None:
        return x_BND[:, -1]
    position_N = torch.arange(x_BND.shape[1], device=x_BND.device)
    last_B = (position_N * mask_BN.bool()).argmax(dim=1)
    return x_BND[torch.arange(len(x_BND), device=x_BND.device), last_B]


def eos_pool(x_BND: Tensor, token_ids_BN: Tensor, eos_token_id: int, mask_BN: Tensor | None = None) -> Tensor:
    """The first end-of-text token, or the last real token of a text that was cut before it: (B, D).

    The first, because CLIP pads with the same token.
    """
    is_eos_BN = token_ids_BN == eos_token_id
    at_eos_BD = x_BND[torch.arange(len(x_BND), device=x_BND.device), is_eos_BN.int().argmax(dim=1)]
    return torch.where(is_eos_BN.any(dim=1, keepdim=True), at_eos_BD, last_pool(x_BND, mask_BN))


_Pool = Callable[[Tensor, Tensor | None], Tensor]
POOLINGS: dict[str, _Pool] = {
    "cls": lambda x_BND, mask_BN: cls_pool(x_BND),
    "mean": mean_pool,
    "last": last_pool,
    "none": lambda x_BND, mask_BN: x_BND,
}


@external_store(group="modules/layers")
class TokenPool(nn.Module):
    """Pool tokens by name.

    Args:
        pooling: ``"cls"`` (first token), ``"mean"`` (of real tokens), ``"last"`` (real token), ``"eos"`` (first end-of-text
            token) or ``"none"`` (tokens as they are).
        eos_token_id: Id of the end-of-text token; needed by ``"eos"``.

    Raises:
        ValueError: Unknown pooling, or ``"eos"`` without ``eos_token_id``.
    """

    def __init__(self, pooling: str = "mean", eos_token_id: int | None = None) -> None:
        super().__init__()
        if pooling not in (*POOLINGS, "eos"):
            raise ValueError(f"Unknown pooling {pooling!r}. Allowed: {', '.join((*POOLINGS, 'eos'))}.")
        if pooling == "eos" and eos_token_id is None:
            raise ValueError("pooling='eos' needs eos_token_id, the id that the tokenizer gives to its end-of-text token.")
        self.pooling, self.eos_token_id = pooling, eos_token_id

    def forward(self, x_BND: Tensor, mask_BN: Tensor | None = None, token_ids_BN: Tensor | None = None) -> Tensor:
        """Pool (B, N, D) to (B, D), or leave it for ``"none"``.

        Args:
            x_BND: Tokens.
            mask_BN: Nonzero where a token is real; None if all are.
            token_ids_BN: Ids of the tokens; needed by ``"eos"``.
        """
        if self.pooling == "eos":
            return eos_pool(x_BND, token_ids_BN, self.eos_token_id, mask_BN)  # pyright: ignore[reportArgumentType]
        return POOLINGS[self.pooling](x_BND, mask_BN)

    def extra_repr(self) -> str:
        return f"pooling={self.pooling!r}"


@external_store(group="modules/layers")
class AttentionPool(nn.Module):
    """A learned query attends to the tokens, then an MLP ("MAP" head, https://arxiv.org/abs/2106.04560, §2.2).

    Args:
        dim: Embedding size D.
        num_heads: Attention heads; must divide ``dim``.
        mlp_ratio: Hidden size of the MLP in units of ``dim``.
    """

    def __init__(self, dim: int, num_heads: int = 8, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide the embedding size {dim}.")
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.randn(1, 1, dim) / dim**0.5)
        self.to_query, self.to_key_value, self.proj = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, hidden_dim=int(dim * mlp_ratio))

    def forward(self, x_BND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Pool (B, N, D) to (B, D).

        Args:
            x_BND: Tokens.
            mask_BN: Nonzero where a token is real; None if all are.
        """
        q_1H1K = self.to_query(self.query).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k_BHNK, v_BHNK = self.to_key_value(x_BND).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q_BH1K = q_1H1K.expand(len(x_BND), -1, -1, -1)
        mixed_BH1K = F.scaled_dot_product_attention(q_BH1K, k_BHNK, v_BHNK, attn_mask=attention_mask(mask_BN))
        x_BD = self.proj(mixed_BH1K.flatten(1))
        return x_BD + self.mlp(self.norm(x_BD))
