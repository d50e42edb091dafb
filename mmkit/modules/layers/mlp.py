"""Multi-layer perceptron."""

from torch import Tensor, nn

from mmkit.conf.store import external_store


ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


@external_store(group="modules/layers")
class MLP(nn.Module):
    """Linear layers with a norm, an activation and dropout between them.

    Args:
        in_dim: Size of the last axis of the input.
        out_dim: Size of the last axis of the output. Default: ``in_dim``.
        hidden_dim: Size between the linear layers. Default: ``in_dim``.
        depth: Number of linear layers: ``0`` hands the input on, ``1`` is one linear map from ``in_dim`` to ``out_dim``, ``2``
            is linear to ``hidden_dim``, norm, activation, dropout, linear to ``out_dim``.
        activation: ``"gelu"``, ``"relu"``, ``"silu"`` or ``"tanh"``.
        norm: ``"layer"``, ``"batch"`` (over all leading axes) or None.
        dropout: Probability of dropping a hidden unit.
        bias: Whether the linear layers have a bias.

    Raises:
        ValueError: Unknown activation or norm, negative depth, or a depth of 0 with ``out_dim != in_dim``.

    Example:
        >>> [type(layer).__name__ for layer in MLP(8, 4, hidden_dim=16).layers]
        ['Linear', 'GELU', 'Dropout', 'Linear']
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int | None = None,
        hidden_dim: int | None = None,
        depth: int = 2,
        activation: str = "gelu",
        norm: str | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        out_dim, hidden_dim = out_dim or in_dim, hidden_dim or in_dim
        if activation not in ACTIVATIONS:
            raise ValueError(f"Unknown activation {activation!r}. Allowed: {', '.join(ACTIVATIONS)}.")
        if norm is not None and norm not in NORMS:
            raise ValueError(f"Unknown norm {norm!r}. Allowed: {', '.join(NORMS)} or None.")
        if depth < 0 or (depth == 0 and out_dim != in_dim):
            raise ValueError(f"depth={depth} cannot map {in_dim} to {out_dim} units. Use depth=1 or more.")
        sizes = [in_dim, *[hidden_dim] * (depth - 1), out_dim]
        self.layers = nn.Sequential()
        for i in range(depth):
            self.layers.append(nn.Linear(sizes[i], sizes[i + 1], bias=bias))
            if i < depth - 1:
                self.layers.extend([NORMS[norm](hidden_dim)] if norm else [])
                self.layers.extend([ACTIVATIONS[activation](), nn.Dropout(dropout)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_dim) to (..., out_dim)."""
        return self.layers(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)
