"""The feed-forward layer of a transformer, plain or gated."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.modules.layers.sequence.norms import make_norm


# Shapes: D width, F inner size.

GATES = {"geglu": F.gelu, "swiglu": F.silu}
ACTIVATIONS = ("gelu", *GATES)


def ffn_size(dim: int, activation: str) -> int:
    """The usual inner size: ``4 · dim``; two thirds of it, rounded up to a multiple of 8, for gated units.

    Gated units have three matrices instead of two: so the number of parameters stays (https://arxiv.org/abs/2002.05202, §2).

    Example:
        >>> ffn_size(96, "gelu"), ffn_size(96, "swiglu"), ffn_size(64, "swiglu")
        (384, 256, 176)
    """
    return -(-8 * dim // 24) * 8 if activation in GATES else 4 * dim


@external_store(group="modules/layers")
class FeedForward(nn.Module):
    """Transform every position alike: ``output(gelu(input(x)))``, or a gated linear unit (https://arxiv.org/abs/2002.05202).

    Args:
        dim: Width D.
        hidden_size: Inner size F. Default: ``4 · dim``, two thirds of it for gated units, which have a third matrix.
        activation: ``"gelu"``; ``"geglu"``, that is ``output(gelu(x W) ⊙ x V)``; or ``"swiglu"``, the same with ``silu``. The
            rows of ``input`` are those of ``W``, then those of ``V``.
        normalization: Norm of the inner units, as in NormFormer (https://arxiv.org/abs/2110.09456); None has none.

    Raises:
        ValueError: Unknown activation or norm.
    """

    def __init__(
        self, dim: int, hidden_size: int | None = None, activation: str = "gelu", normalization: str | None = None
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"Unknown activation {activation!r}. Allowed: {', '.join(ACTIVATIONS)}.")
        hidden_size = hidden_size or ffn_size(dim, activation)
        self.activation = activation
        self.input = nn.Linear(dim, hidden_size * (2 if activation in GATES else 1))
        self.norm = nn.Identity() if normalization is None else make_norm(normalization, hidden_size)
        self.output = nn.Linear(hidden_size, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return self.output(self.norm(self._activate(self.input(x))))

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation not in GATES:
            return F.gelu(x)
        gate, value = x.chunk(2, dim=-1)
        return GATES[self.activation](gate) * value

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"
