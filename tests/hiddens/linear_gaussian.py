"""The model whose posterior and likelihood are known: z ~ N(0, 1), x | z ~ N(w z, s²), so x ~ N(0, v) with v = w² + s²."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal


LOG_2PI_E = math.log(2 * math.pi * math.e)


# Shapes: B examples, N latents, one position and one latent dimension.
@dataclass(frozen=True)
class LinearGaussian:
    w: float
    s: float

    @property
    def v(self) -> float:
        return self.w**2 + self.s**2

    @property
    def entropy_x(self) -> float:
        return 0.5 * (LOG_2PI_E + math.log(self.v))

    @property
    def entropy_x_given_z(self) -> float:
        return 0.5 * (LOG_2PI_E + math.log(self.s**2))

    @property
    def entropy_z_given_x(self) -> float:
        return 0.5 * (LOG_2PI_E + math.log(self.s**2 / self.v))

    @property
    def joint_entropy(self) -> float:
        return 0.5 * math.log((2 * math.pi * math.e) ** 2 * self.s**2)

    @property
    def information(self) -> float:
        return 0.5 * math.log(self.v / self.s**2)

    def draw_x(self, num: int, seed: int = 0) -> Tensor:
        return math.sqrt(self.v) * torch.randn(num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def balanced_x(self, num: int) -> Tensor:
        """x whose mean square is v exactly, so that means over them are expectations of what is quadratic in x."""
        x = self.draw_x(num)
        return x * math.sqrt(self.v) / x.square().mean().sqrt()

    def log_p_x(self, x: Tensor) -> Tensor:
        return Normal(torch.zeros_like(x), math.sqrt(self.v)).log_prob(x)

    def posterior(self, x_B: Tensor) -> dict[str, Tensor]:
        """What a transformation would return that knows the true posterior N(w x / v, s² / v)."""
        mean = (self.w * x_B / self.v).view(-1, 1, 1)
        logvar = torch.full_like(mean, math.log(self.s**2 / self.v))
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        log_prob = Normal(mean, torch.exp(0.5 * logvar)).log_prob(z).sum(-1)
        mask = torch.ones_like(mean[..., 0])
        masks = {"z_mask": mask, "z_mean_mask": mask}
        return {"z": z, "z_mean": mean, "z_logvar": logvar, "z_log_prob": log_prob, **masks}

    def log_likelihood(self, x_B: Tensor):
        """log p(x_row | z) as a model hands it to losses."""

        def of_rows(z_NSZ: Tensor, rows_N: Tensor | None = None) -> Tensor:
            x_N = x_B if rows_N is None else x_B[rows_N]
            return Normal(self.w * z_NSZ[:, 0, 0], self.s).log_prob(x_N)

        return of_rows

    def generate_pairs(self, z_NSZ: Tensor) -> dict[str, object]:
        """Draw x ~ p(x|z) and tell its posterior, as a model hands it to losses."""
        x_N = (self.w * z_NSZ[:, 0, 0] + self.s * torch.randn_like(z_NSZ[:, 0, 0])).detach()
        log_likelihood = self.log_likelihood(x_N)
        return {**self.posterior(x_N), "log_p_x_given_z": log_likelihood(z_NSZ), "log_likelihood": log_likelihood}

    def batch_data(self, x_B: Tensor) -> dict[str, object]:
        return {"log_likelihood": self.log_likelihood(x_B), "generate_pairs": self.generate_pairs}
