"""What the synthetic tasks share: examples by number, drawn from a generator of their own."""

from abc import ABC, abstractmethod
from random import Random

from torch.utils.data import Dataset

from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities, Modality


#: The smallest id of a task's own symbols; 0, 1 and 2 are the beginning, padding and end of Mega's configuration.
FIRST_ID = 3
PADDING_ID = 1


class SyntheticTask(Dataset[Example], ABC):
    """Examples that are functions of (seed, split, index).

    Args:
        size: Number of examples.
        split: Any name; splits of other names have other examples, but for chance.
        seed: Changes all examples.
        modality: Key of the token ids; that of the labels is its target.

    Raises:
        ValueError: ``size`` is below 1.
    """

    def __init__(self, size: int, split: str, seed: int, modality: str) -> None:
        if size < 1:
            raise ValueError(f"{type(self).__name__}: size={size}. Use 1 or more.")
        self.size = size
        self.split = split
        self.seed = seed
        self.modality: Modality = Modalities.get_modality(modality)

    @abstractmethod
    def draw(self, random: Random) -> Example:
        """An example without its index."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.size:
            raise IndexError(f"Index {index} is out of range for {self.size} examples.")
        random = Random(f"{type(self).__name__} {self.seed} {self.split} {index}")
        return Example({EXAMPLE_INDEX_KEY: index, **self.draw(random)})
