"""Memory in use, followed tensor by tensor."""

import weakref
from typing import Any

from torch import Tensor


class LiveMemory:
    """Adds up the storages that are alive.

    Attributes:
        live: Bytes in use now.
        peak: The most since the last ``reset_peak``.
    """

    def __init__(self) -> None:
        self.live = self.peak = 0
        self._storages: dict[int, tuple[weakref.ref[Any], int]] = {}

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a tensor as long as it lives; views share that of their base."""
        storage = tensor.untyped_storage()
        number = id(storage)
        if number in self._storages:
            return
        size = storage.nbytes()
        self._storages[number] = weakref.ref(storage, lambda _: self._drop(number)), size
        self.live += size
        self.peak = max(self.peak, self.live)

    def _drop(self, number: int) -> None:
        self.live -= self._storages.pop(number)[1]

    def reset_peak(self) -> None:
        """Begin anew with what is in use now."""
        self.peak = self.live
