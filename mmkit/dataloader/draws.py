"""What a batch sampler hands to a data set, wherever that is read."""

from collections.abc import Iterable, Sequence


class Draws(list[int]):
    """The indices of one batch, with the place in the training that decides their randomness.

    It is a plain list of indices to whoever does not know better. The epoch travels with it because a worker that lives on
    through several epochs has a copy of the data set that was made in the first.

    Attributes:
        epoch: Number of the epoch.
        positions: Per index, the number of the draw in the epoch, over all ranks. No two draws of an epoch share it.
    """

    epoch: int
    positions: Sequence[int]

    def __init__(self, indices: Iterable[int], epoch: int, positions: Sequence[int]) -> None:
        super().__init__(indices)
        self.epoch, self.positions = epoch, positions
