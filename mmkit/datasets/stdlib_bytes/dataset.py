"""The data set ``StdlibBytes``: windows over the bytes of the Python standard library."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY, IGNORED_LABEL
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.stdlib_bytes.corpus import load_corpus
from mmkit.datasets.stdlib_bytes.files import SPLITS
from mmkit.datasets.stdlib_bytes.windows import Windows


# Shapes: L bytes of a window.
@external_store(group="datasets")
class StdlibBytes(Dataset[Example]):
    """Windows over the Python standard library's own source, for byte-level language models; needs no download.

    The source is that of the running Python, so figures of different versions of Python do not compare. Files are split
    by a hash of their path, 80 / 10 / 10; those of a split follow each other, each after a byte 0, which no source has.
    Nothing else is below 10, so that 1 can be the padding id of a model.

    An example has the bytes (``text``, LongTensor (L,), 0 to 255) and labels (``text_target``, LongTensor (L,)): the same
    bytes, not shifted, or −100 for those that another window predicts. Over all windows, every byte of the split but the first
    is predicted once, with at least ``context`` − ``stride`` bytes before it (in the first window: with all there are).

    Args:
        split: Files of which split: ``"train"``, ``"val"`` or ``"test"``.
        context: Bytes of a window.
        stride: From one window to the next; default: ``context`` − 1, the least work. A smaller one gives every byte more
            context, at the price of more windows.
        modality: Key of the bytes; that of the labels is its target.
        cache_dir: Folder of the cache; default: ``stdlib_bytes`` in mmkit's data folder.

    Raises:
        ValueError: An unknown split, or ``context`` or ``stride`` do not fit.
        RefusedError: This Python comes without the source of its standard library.
    """

    def __init__(
        self,
        split: str = "train",
        context: int = 1024,
        stride: int | None = None,
        modality: str = "text",
        cache_dir: str | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"StdlibBytes: unknown split {split!r}. Allowed: {', '.join(SPLITS)}.")
        self.split = split
        self.modality = Modalities.get_modality(modality)
        self.corpus = load_corpus(cache_dir=Path(cache_dir).expanduser() if cache_dir is not None else None)
        self._bytes = self.corpus.split(split)
        self.windows = Windows(len(self._bytes), context, context - 1 if stride is None else stride)

    @staticmethod
    def example_spec(context: int = 1024, modality: str = "text", **arguments: Any) -> Example:
        """An example without data, for ``mmkit plan``; the bytes are the largest there is.

        Args:
            context: As for the constructor.
            modality: As for the constructor.
            **arguments: The constructor's others, which change neither shape nor ids.
        """
        key, bytes_L = Modalities.get_modality(modality), torch.full((context,), 255)
        return Example({EXAMPLE_INDEX_KEY: 0, key.name: bytes_L, key.target: bytes_L})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None}  # a pickled memory map would be a copy for every worker

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bytes = self.corpus.split(self.split)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} is out of range for {len(self)} windows.")
        bytes_L, labels_L = self._window(index)
        return Example({EXAMPLE_INDEX_KEY: index, self.modality.name: bytes_L, self.modality.target: labels_L})

    def _window(self, index: int) -> tuple[Tensor, Tensor]:
        start = self.windows.start(index)
        bytes_L = torch.from_numpy(self._bytes[start : start + self.windows.context].astype(np.int64))
        labels_L = bytes_L.clone()
        labels_L[: self.windows.first_predicted(index) - start] = IGNORED_LABEL
        return bytes_L, labels_L
