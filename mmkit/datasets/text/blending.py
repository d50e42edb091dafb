"""Drawing from several sources by weight: which one a position belongs to, as a pure function of the position.

Any prefix of a blend holds each source within one sample of its share (the "chairman assignment problem", Tijdeman 1980,
doi:10.1016/0012-365X(80)90269-1). Weights are whole parts of a million at most, so the sequence of sources has a period of at
most a million positions: one period is computed, everything else follows from it.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush
from itertools import accumulate

import numpy as np

from mmkit.errors import UsageError


_FINEST = 1_000_000  # parts that weights are rounded to, if they are no fractions of fewer


# Shapes: K sources, P positions of a period.
class Cycle:
    """One source, again and again: position → number of its sample."""

    def __init__(self, size: int, num_samples: int) -> None:
        self.size, self.num_samples = size, num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> int:
        return position % self.size


class Blend:
    """Several sources by weight: position → number of a sample, counted through all sources.

    A source that is used up starts anew.

    Args:
        sizes: Samples of every source, 1 or more.
        weights: Of every source, in any unit.
        num_samples: Positions; default: enough that every sample is drawn.
        names: Of the sources, for errors.

    Raises:
        UsageError: A source would give less than one sample.

    Example:
        >>> blend = Blend([10, 10], [3, 1], None, ["wiki.txt", "books.txt"])
        >>> [blend[i] for i in range(8)]
        [0, 1, 10, 2, 3, 4, 11, 5]
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], num_samples: int | None, names: Sequence[str]) -> None:
        self.sizes, self.parts = list(sizes), _whole_parts(weights)
        self.starts = [0, *accumulate(self.sizes)]
        self.period = sum(self.parts)
        needed = [-(-size * self.period // part) for size, part in zip(self.sizes, self.parts, strict=True) if part]
        self.num_samples = max(needed) if num_samples is None else num_samples
        for name, weight, part in zip(names, weights, self.parts, strict=True):
            if self.num_samples * part < self.period:
                raise UsageError(
                    f"{name} has weight {weight:g} of {sum(weights):g}: of {self.num_samples} samples, that is "
                    f"{self.num_samples * weight / sum(weights):.3g}. Raise its weight or num_samples, or leave it out."
                )
        self._source_P = spread_evenly(self.parts, min(self.period, self.num_samples))
        self._rank_P = _ranks(self._source_P, len(self.parts))

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> int:
        periods, within = divmod(position, self.period)
        source = int(self._source_P[within])
        sample = periods * self.parts[source] + int(self._rank_P[within])
        return self.starts[source] + sample % self.sizes[source]


def spread_evenly(parts: Sequence[int], length: int) -> np.ndarray:
    """Which source each of the first positions belongs to.

    Of every n positions, source k gets ``n · parts[k] / sum(parts)`` within 1 − 1 / (2K − 2). The rule is Tijdeman's: among
    the sources whose next sample may come already, the one whose sample must come first.

    Args:
        parts: Weight of every source, whole numbers.
        length: Positions, P.

    Returns:
        The sources, uint16 (P,).
    """
    if len(parts) == 1:
        return np.zeros(length, np.uint16)
    # Sample j of source k may come at position n (from 1) if n p_k - j D >= D / s, and must at the last n with
    # n p_k <= (j + 1) D - D / s; D = sum(parts), s = 2K - 2. Whole numbers throughout, so that all machines agree.
    total, s = sum(parts), 2 * len(parts) - 2
    due = lambda k, j: Fraction(total * (s * (j + 1) - 1), s * parts[k])  # noqa: E731
    release = lambda k, j: -(-total * (s * j + 1) // (s * parts[k]))  # noqa: E731
    waiting = [(release(k, 0), k, 0) for k in range(len(parts)) if parts[k]]
    heapify(waiting)
    ready: list[tuple[Fraction, int, int]] = []
    sources_P = np.empty(length, np.uint16)
    for n in range(1, length + 1):
        while waiting and waiting[0][0] <= n:
            _, k, j = heappop(waiting)
            heappush(ready, (due(k, j), k, j))
        _, k, j = heappop(ready)
        sources_P[n - 1] = k
        heappush(waiting, (release(k, j + 1), k, j + 1))
    return sources_P


def _whole_parts(weights: Sequence[float]) -> list[int]:
    exact = [Fraction(str(weight)) for weight in weights]
    common = math.lcm(*(weight.denominator for weight in exact))
    parts = [int(weight * common) for weight in exact]
    parts = [part // math.gcd(*parts) for part in parts]
    if sum(parts) <= _FINEST:
        return parts
    total = sum(exact)
    rounded = [round(weight * _FINEST / total) for weight in exact]
    return [part // math.gcd(*rounded) for part in rounded]


def _ranks(source_P: np.ndarray, num_sources: int) -> np.ndarray:
    rank_P = np.empty(len(source_P), np.uint32)
    for source in range(num_sources):
        mine_P = source_P == source
        rank_P[mine_P] = np.arange(mine_P.sum(), dtype=np.uint32)
    return rank_P
