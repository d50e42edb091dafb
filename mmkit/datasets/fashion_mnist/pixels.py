"""The data set ``FashionMNISTPixels``: pictures as long sequences of pixels."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.fashion_mnist.recipe import FashionMNISTRecipe


CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
NUM_PIXELS = 28 * 28
#: Pictures of the published training set that make the validation set: its last ones; their order is random as published.
NUM_VAL = 5_000
#: Id of the darkest pixel. Those below are left to the model, whose padding id must not be a pixel.
FIRST_ID = 3
_ROWS = {"train": ("train", 0, 60_000 - NUM_VAL), "val": ("train", 60_000 - NUM_VAL, 60_000), "test": ("test", 0, 10_000)}


@external_store(group="datasets")
class FashionMNISTPixels(Dataset[Example]):
    """Fashion-MNIST, each picture a sequence of 784 pixels, row by row; made by ``mmkit data prepare fashion_mnist``.

    Classifying pictures from their pixels one after the other is a test of long memory (Le et al. 2015,
    https://arxiv.org/abs/1504.00941; with 8-bit intensities as token ids: Tay et al. 2021, https://arxiv.org/abs/2011.04006).

    An example has the intensities (``text``, LongTensor (784,), 3 to 2 + ``levels``) and its class (``text_target``, 0 to 9).

    Args:
        split: ``"train"`` (55,000), ``"val"`` (the last 5,000 of the published training set) or ``"test"`` (10,000).
        levels: Shades of grey, 2 to 256, of equal width; fewer are learned faster.
        modality: Key of the pixels; that of the class is its target.

    Raises:
        ValueError: An unknown split, or a number of levels out of range.
        RefusedError: The data is not prepared; says what to type.
    """

    id2label: ClassVar[dict[int, str]] = dict(enumerate(CLASSES))

    def __init__(self, split: str = "train", levels: int = 256, modality: str = "text") -> None:
        if split not in _ROWS:
            raise ValueError(f"FashionMNISTPixels: unknown split {split!r}. Allowed: {', '.join(_ROWS)}.")
        if not 2 <= levels <= 256:
            raise ValueError(f"FashionMNISTPixels: levels={levels}. Allowed: 2 to 256.")
        folder = FashionMNISTRecipe().locate()
        name, first, end = _ROWS[split]
        self.levels = levels
        self.modality = Modalities.get_modality(modality)
        self._images = np.load(folder / f"{name}_images.npy")[first:end].reshape(-1, NUM_PIXELS)
        self._labels = np.load(folder / f"{name}_labels.npy")[first:end].tolist()

    @staticmethod
    def example_spec(levels: int = 256, modality: str = "text", **arguments: Any) -> Example:
        """An example without data, for ``mmkit plan``; the pixels are the largest id there is.

        Args:
            levels: As for the constructor.
            modality: As for the constructor.
            **arguments: The constructor's others, which change neither shape nor ids.
        """
        key, pixels = Modalities.get_modality(modality), torch.full((NUM_PIXELS,), FIRST_ID + levels - 1)
        return Example({EXAMPLE_INDEX_KEY: 0, key.name: pixels, key.target: 0})

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Example:
        levels = self._images[index].astype(np.int64) * self.levels // 256
        pixels = torch.from_numpy(levels + FIRST_ID)
        return Example({EXAMPLE_INDEX_KEY: index, self.modality.name: pixels, self.modality.target: self._labels[index]})
