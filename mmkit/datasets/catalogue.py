"""Data sets: features of frozen encoders, source code as bytes, pictures as pixel sequences, synthetic long-range tasks, text."""

from mmkit.datasets.encoded import EncodedDataset
from mmkit.datasets.fashion_mnist.pixels import FashionMNISTPixels
from mmkit.datasets.stdlib_bytes.dataset import StdlibBytes
from mmkit.datasets.synthetic import AssociativeRecall, ListOps, SelectiveCopy
from mmkit.datasets.text.dataset import TextMMap


__all__ = ["AssociativeRecall", "EncodedDataset", "FashionMNISTPixels", "ListOps", "SelectiveCopy", "StdlibBytes", "TextMMap"]
