"""Means of step values, accumulated where the values live."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Weighted means of named scalars, kept on their device until they are read.

    Reading a loss from an accelerator waits for it; adding two tensors does not. One read every few steps is enough for a log.

    Example:
        >>> means = RunningMeans()
        >>> means.update({"loss": torch.tensor(1.0)}, weight=1)
        >>> means.update({"loss": torch.tensor(4.0)}, weight=2)
        >>> means.pop()
        {'loss': 3.0}
        >>> means.pop()
        {}
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def update(self, values: Mapping[str, Tensor], weight: float = 1) -> None:
        for name, value in values.items():
            value = value.detach() * weight if weight != 1 else value.detach()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._weights[name] = self._weights.get(name, 0) + weight

    def __bool__(self) -> bool:
        return any(weight > 0 for weight in self._weights.values())

    def add(self, other: "RunningMeans") -> None:
        """Take in everything that another one has taken in."""
        for name, total in other._sums.items():
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._weights[name] = self._weights.get(name, 0) + other._weights[name]

    def state_dict(self) -> dict[str, Any]:
        """What has been taken in, as plain tensors and numbers."""
        return {"sums": {name: total.detach().cpu() for name, total in self._sums.items()}, "weights": dict(self._weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self._sums = dict(state["sums"])
        self._weights = dict(state["weights"])

    def pop(self) -> dict[str, float]:
        """The means since the last call, as numbers; values of weight zero have no mean and are left out."""
        sums, weights = self._sums, self._weights
        self._sums, self._weights = {}, {}
        named = {name: total / weights[name] for name, total in sums.items() if weights[name] > 0}
        if not named:
            return {}
        return dict(zip(named, torch.stack([value.float() for value in named.values()]).tolist(), strict=True))
