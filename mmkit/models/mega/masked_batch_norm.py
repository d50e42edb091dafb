"""Batch normalization whose statistics come from real tokens only, of one rank or of all."""

import torch
import torch.distributed as dist
from torch import Tensor, nn


#: Share of the newest batch in the running averages: torch's default.
MOMENTUM = 0.1


# Shapes: B batch, L positions, D features.
class BatchNorm(nn.BatchNorm1d):
    """Normalize each feature over the real positions of the batch.

    In training the mean and variance are those of the real positions, and the running averages follow them as in torch;
    in evaluation the running averages are used.

    Args:
        features: ``D``.
        eps: Added to the variance.
        affine: Learn a scale and a shift for each feature.
        across_ranks: Take the statistics over all ranks of the default process group, on CPU as on GPU.
    """

    def __init__(self, features: int, eps: float = 1e-5, affine: bool = True, across_ranks: bool = False) -> None:
        super().__init__(features, eps, MOMENTUM, affine)
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        self.across_ranks = across_ranks

    def forward(self, input: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        x_BLD = input if input.dtype == torch.float64 else input.float()
        if self.training:
            mean_D, variance_D, count = self._statistics(x_BLD, mask_BL)
            self._follow(mean_D.detach(), variance_D.detach(), count)
        else:
            mean_D, variance_D = self.running_mean, self.running_var
        rate_D = torch.rsqrt(variance_D + self.eps)
        if self.affine:
            rate_D = rate_D * self.weight
        y_BLD = (x_BLD - mean_D) * rate_D
        return (y_BLD + self.bias if self.affine else y_BLD).to(input.dtype)

    def _statistics(self, x_BLD: Tensor, mask_BL: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and biased variance of each feature over the real positions, and their number."""
        weight_BL1 = torch.ones_like(x_BLD[..., :1]) if mask_BL is None else mask_BL.unsqueeze(-1).to(x_BLD.dtype)
        count = self._total(weight_BL1.sum())
        divisor = count.clamp(min=1)
        mean_D = self._total((x_BLD * weight_BL1).sum((0, 1))) / divisor
        squares_BLD = (x_BLD - mean_D).square() * weight_BL1
        return mean_D, self._total(squares_BLD.sum((0, 1))) / divisor, count

    def _total(self, value: Tensor) -> Tensor:
        """The sum of ``value`` over the ranks whose statistics are shared."""
        if not (self.across_ranks and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return value
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(value.contiguous())

    @torch.no_grad()
    def _follow(self, mean_D: Tensor, variance_D: Tensor, count: Tensor) -> None:
        """Move the running averages towards this batch, as torch does: with the unbiased variance."""
        momentum = MOMENTUM * (count > 0)
        unbiased_D = variance_D * count / (count - 1).clamp(min=1)
        self.num_batches_tracked.add_(1)
        self.running_mean.add_(momentum * (mean_D - self.running_mean))
        self.running_var.add_(momentum * (unbiased_D - self.running_var))
