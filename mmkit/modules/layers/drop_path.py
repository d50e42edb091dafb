"""Stochastic depth."""

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Set whole examples (first axis) to zero with probability ``rate`` and scale the others to keep the expectation."""
    keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= rate
    return x * keep.to(x.dtype).div_(1 - rate)


def growing_rates(last_rate: float, depth: int) -> list[float]:
    """Rates of ``depth`` blocks, growing linearly from zero, as stochastic depth proposes.

    Example:
        >>> growing_rates(0.2, 3)
        [0.0, 0.1, 0.2]
    """
    return [last_rate * i / max(depth - 1, 1) for i in range(depth)]


@external_store(group="modules/layers")
class DropPath(nn.Module):
    """Drop a residual branch per example while training (stochastic depth, https://arxiv.org/abs/1603.09382).

    Args:
        rate: Probability of dropping, in [0, 1); 0 hands the input on.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate={rate} must lie in [0, 1).")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return drop_path(x, self.rate) if self.training and self.rate > 0 else x

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
