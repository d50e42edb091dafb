"""How much a Gaussian latent variable tells: its KL, its active units, and how often its log-variances stand at a bound."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from mmkit.conf import external_store


# Shapes: B examples, S positions, Z latent dimensions, R = S where positions are told apart, else 1: there are R·Z units.
@external_store(group="modules/metrics")
class LatentDiagnostics(Metric):
    """What became of a posterior N(mean, exp(logvar)) with the prior N(0, I), over all examples of an epoch and of all ranks.

    - ``kl``: KL(posterior || prior) of an example in nats, summed over latent dimensions and real positions, mean over examples.
    - ``kl_per_position``: the same per real position.
    - ``active_units``: number of units whose posterior mean varies over the examples, Var_x E[z] > ``threshold`` (Burda et al.
      2015, https://arxiv.org/abs/1509.00519, §5.2); ``active_fraction``: their share of all units. Few mean posterior collapse.
    - ``logvar_at_lower``, ``logvar_at_upper``: share of log-variances within ``tolerance`` of a bound, for the bounds given.
      A-MIM's latent term always shrinks variances: at the lower bound it loses its gradient, and nothing limits what z tells.

    Sums are kept in double precision and per unit, so the result does not depend on batches and ranks.

    Args:
        latent_size: Number Z of latent dimensions.
        num_positions: Every example has so many positions, which are told apart: there are S·Z units. None: the number varies,
            and the real positions of all examples are the population of Z units (one that differs by position is active, too).
        min_logvar: Lower bound of the log-variances; None: not counted.
        max_logvar: Upper bound; None: not counted.
        threshold: A unit is active above this variance.
        tolerance: In nats. Below 0.1 from a smooth bound less than a tenth of the gradient passes it.
        **kwargs: Options of ``torchmetrics.Metric``.

    Example:
        >>> diagnostics = LatentDiagnostics(latent_size=2, num_positions=1)
        >>> diagnostics.update(torch.tensor([[[2.0, 0.0]], [[-2.0, 0.0]]]), torch.zeros(2, 1, 2))
        >>> {name: round(value.item(), 4) for name, value in diagnostics.compute().items()}
        {'kl': 2.0, 'kl_per_position': 2.0, 'active_units': 1.0, 'active_fraction': 0.5}
    """

    is_differentiable = False
    full_state_update = False
    examples: Tensor
    positions_R1: Tensor
    mean_RZ: Tensor
    square_RZ: Tensor
    variance_RZ: Tensor
    logvar_RZ: Tensor
    at_lower: Tensor
    at_upper: Tensor

    def __init__(
        self,
        latent_size: int,
        num_positions: int | None = None,
        min_logvar: float | None = None,
        max_logvar: float | None = None,
        threshold: float = 0.01,
        tolerance: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if latent_size < 1 or (num_positions is not None and num_positions < 1):
            raise ValueError(f"latent_size={latent_size} and num_positions={num_positions} must be at least 1.")
        self.num_positions, self.threshold, self.tolerance = num_positions, threshold, tolerance
        self.min_logvar, self.max_logvar = min_logvar, max_logvar
        rows = num_positions or 1
        for name in ("mean_RZ", "square_RZ", "variance_RZ", "logvar_RZ", "positions_R1"):
            size = 1 if name == "positions_R1" else latent_size
            self.add_state(name, torch.zeros(rows, size, dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("examples", "at_lower", "at_upper"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, mean_BSZ: Tensor, logvar_BSZ: Tensor, mask_BS: Tensor | None = None) -> None:
        """Take in a batch.

        Args:
            mean_BSZ: Posterior means (B, S, Z).
            logvar_BSZ: Posterior log-variances (B, S, Z).
            mask_BS: Nonzero at real positions; None if all are.

        Raises:
            ValueError: Not ``num_positions`` positions.
        """
        if self.num_positions not in (None, mean_BSZ.shape[1]):
            raise ValueError(
                f"The batch has {mean_BSZ.shape[1]} positions, but num_positions={self.num_positions}. Give None if it varies."
            )
        real_BS1 = _ones_like_mask(mean_BSZ, mask_BS)
        mean_BSZ, logvar_BSZ = (x.detach().double().where(real_BS1 > 0, 0) for x in (mean_BSZ, logvar_BSZ))
        self._add("positions_R1", real_BS1)
        self._add("mean_RZ", mean_BSZ)
        self._add("square_RZ", mean_BSZ.square())
        self._add("variance_RZ", logvar_BSZ.exp() * real_BS1)
        self._add("logvar_RZ", logvar_BSZ)
        self.examples = self.examples.double() + (real_BS1.sum((1, 2)) > 0).sum()
        self._count_bounds(logvar_BSZ, real_BS1)

    def _add(self, name: str, x_BSD: Tensor) -> None:
        sum_SD = x_BSD.sum(0)
        # Widened again: a task of half precision has converted the states along with its parameters
        state_RD = getattr(self, name).double()
        setattr(self, name, state_RD + (sum_SD if self.num_positions else sum_SD.sum(0, keepdim=True)))

    def _count_bounds(self, logvar_BSZ: Tensor, real_BS1: Tensor) -> None:
        if self.min_logvar is not None:
            self.at_lower = self.at_lower.double() + ((logvar_BSZ < self.min_logvar + self.tolerance) * real_BS1).sum()
        if self.max_logvar is not None:
            self.at_upper = self.at_upper.double() + ((logvar_BSZ > self.max_logvar - self.tolerance) * real_BS1).sum()

    def compute(self) -> dict[str, Tensor]:
        """The values by name, in double precision; nothing at all without examples."""
        if not self.examples:
            return {}
        positions = self.positions_R1.sum()
        kl = 0.5 * (self.square_RZ + self.variance_RZ - self.positions_R1 - self.logvar_RZ).sum()
        active_RZ = self._variance_of_means() > self.threshold
        values = {
            "kl": kl / self.examples,
            "kl_per_position": kl / positions,
            "active_units": active_RZ.sum().double(),
            "active_fraction": active_RZ.double().mean(),
        }
        bounds = {"logvar_at_lower": (self.min_logvar, self.at_lower), "logvar_at_upper": (self.max_logvar, self.at_upper)}
        num_logvars = positions * self.mean_RZ.shape[1]
        return values | {name: count / num_logvars for name, (bound, count) in bounds.items() if bound is not None}

    def _variance_of_means(self) -> Tensor:
        """Var_x E[z] of every unit, with n - 1 below; 0 of a single example."""
        center_RZ = self.mean_RZ / self.positions_R1.clamp(min=1)
        squares_RZ = self.square_RZ - self.positions_R1 * center_RZ.square()
        return squares_RZ / (self.positions_R1 - 1).clamp(min=1)


def _ones_like_mask(x_BSZ: Tensor, mask_BS: Tensor | None) -> Tensor:
    """1 at real positions, else 0, as (B, S, 1) in double precision."""
    if mask_BS is None:
        return torch.ones_like(x_BSZ[..., :1], dtype=torch.float64)
    return mask_BS.bool().unsqueeze(-1).double()
