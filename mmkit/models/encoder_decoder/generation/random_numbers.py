"""Random numbers that are a function of a row's seed and the step, so that a row's sample does not depend on its neighbours."""

import torch
from torch import Tensor


# Shapes: N rows, K numbers of a row.

_GAMMA = 0x9E3779B97F4A7C15 - 2**64  # as a signed number: 2**64 divided by the golden ratio
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def mixed(bits: Tensor) -> Tensor:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195); int64 wraps around."""
    bits = (bits ^ _shifted(bits, 30)) * _MULTIPLIERS[0]
    bits = (bits ^ _shifted(bits, 27)) * _MULTIPLIERS[1]
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    return (bits >> places) & ((1 << (64 - places)) - 1)  # torch keeps the sign


def row_seeds(seed: int, num_rows: int, first: int = 0) -> Tensor:
    """A seed (N,) for each of the rows ``first`` to ``first + num_rows - 1`` of a sample with one seed.

    Example:
        >>> bool((row_seeds(7, 4)[2:] == row_seeds(7, 2, first=2)).all())
        True
    """
    rows_N = torch.arange(first, first + num_rows)
    return mixed(mixed(torch.tensor(seed)) + (rows_N + 1) * _GAMMA)


def uniform(seeds_N: Tensor, step: int) -> Tensor:
    """One number (N,) from [0, 1) a row, in double precision: step ``step`` of the stream of each seed."""
    bits_N = mixed(mixed(seeds_N) + (torch.full_like(seeds_N, step) + 1) * _GAMMA)
    return _shifted(bits_N, 12).double() * 2.0**-52


def normal(seeds_N: Tensor, size: int) -> Tensor:
    """So many numbers (N, K) from N(0, 1) a row, in double precision: a function of the row's seed alone.

    They are quantiles of the midpoints of 2**52 equal parts of [0, 1], the k-th of step k of :func:`uniform`.

    Example:
        >>> bool((normal(row_seeds(7, 5), 3)[2:4] == normal(row_seeds(7, 2, first=2), 3)).all())
        True
    """
    bits_NK = mixed(mixed(seeds_N).unsqueeze(1) + (torch.arange(size, device=seeds_N.device) + 1) * _GAMMA)
    return torch.special.ndtri((_shifted(bits_NK, 12).double() + 0.5) * 2.0**-52)
