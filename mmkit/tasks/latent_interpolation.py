"""Paths between two latent vectors."""

import torch
from torch import Tensor


PARALLEL = 1e-6  # sin of an angle: below it, dividing by it loses more than a straight line does


# Shapes: P points of a path, any further dimensions "…", Z latent size.
def slerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Points from ``a`` to ``b`` along a great circle (White 2016, https://arxiv.org/abs/1609.04468, section 2.1).

    With θ the angle between the two vectors, the point at t is sin((1−t)θ)/sin θ · a + sin(tθ)/sin θ · b. Between two draws of
    N(0, I) every point has about the norm of a draw; a straight line passes nearer to the origin, where no draw is.
    Where the vectors are parallel, opposite or zero, θ names no circle and the line (1−t)·a + t·b is taken.

    Args:
        a: Start (…, Z); angles are those of the last dimension, for each vector its own.
        b: End (…, Z).
        steps: Number of points, both ends among them.

    Returns:
        Points (P, …, Z); the first is ``a``, the last is ``b``.

    Raises:
        ValueError: If the shapes differ, or there are fewer than two points.

    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)[1]
        tensor([0.7071, 0.7071])
    """
    if a.shape != b.shape:
        raise ValueError(f"Both ends of a path need one shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    if steps < 2:
        raise ValueError(f"steps={steps}: a path has at least its two ends. Give 2 or more.")
    x, y = a.double(), b.double()
    t = torch.linspace(0, 1, steps, dtype=torch.float64, device=x.device).view(-1, *[1] * x.ndim)
    theta = _angle(x, y)
    sine = theta.sin()
    parallel = sine < PARALLEL
    sine = sine.masked_fill(parallel, 1)
    of_a = torch.where(parallel, 1 - t, ((1 - t) * theta).sin() / sine)
    of_b = torch.where(parallel, t, (t * theta).sin() / sine)
    return (of_a * x + of_b * y).to(a.dtype)


def _angle(x: Tensor, y: Tensor) -> Tensor:
    """Angle (…, 1) between vectors, 0 where one is zero; exact near 0 and π, unlike the arc cosine (Kahan's formula)."""
    x_norm, y_norm = x.norm(dim=-1, keepdim=True), y.norm(dim=-1, keepdim=True)
    scaled_x, scaled_y = x * y_norm, y * x_norm
    return 2 * torch.atan2((scaled_x - scaled_y).norm(dim=-1, keepdim=True), (scaled_x + scaled_y).norm(dim=-1, keepdim=True))
