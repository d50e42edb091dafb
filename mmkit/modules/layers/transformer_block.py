"""Pre-norm transformer block."""

from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.modules.layers.attention import Attention
from mmkit.modules.layers.drop_path import DropPath
from mmkit.modules.layers.layer_scale import LayerScale
from mmkit.modules.layers.mlp import MLP


# Shapes: B batch, N tokens, D embedding dim.


def init_transformer_weights(module: nn.Module) -> None:
    """Weights of linear maps and embeddings from N(0, 0.02²), biases zero, in place; apply with ``module.apply``."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


@external_store(group="modules/layers")
class TransformerBlock(nn.Module):
    """Attention and an MLP, each normalised before and added to its input (https://arxiv.org/abs/2002.04745).

    Args:
        dim: Embedding size D.
        num_heads: Attention heads; must divide ``dim``.
        mlp_ratio: Hidden size of the MLP in units of ``dim``.
        causal: Whether a token sees only itself and earlier tokens.
        dropout: Probability of dropping an attention weight or a unit of the branches' outputs.
        drop_path: Probability of dropping a branch of an example.
        layer_scale: Initial factor of the branches; None adds them as they are.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        causal: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, causal=causal, dropout=dropout)
        self.mlp = MLP(dim, hidden_dim=int(dim * mlp_ratio), dropout=dropout)
        self.branch1, self.branch2 = (
            nn.Sequential(
                nn.Dropout(dropout),
                nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale),
                DropPath(drop_path),
            )
            for _ in range(2)
        )

    def forward(self, x_BND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Transform tokens: (B, N, D) to (B, N, D).

        Args:
            x_BND: Tokens.
            mask_BN: Nonzero where a token is real; None if all are.
        """
        x_BND = x_BND + self.branch1(self.attn(self.norm1(x_BND), mask_BN))
        return x_BND + self.branch2(self.mlp(self.norm2(x_BND)))
