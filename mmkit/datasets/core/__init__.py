"""Examples, modalities, and the way from data sets to batches."""

from mmkit.datasets.core.combined_dataset import CombinedDataset
from mmkit.datasets.core.data_collator import DefaultDataCollator, collate_example_list
from mmkit.datasets.core.example import Example, find_matching_indices
from mmkit.datasets.core.modalities import Modalities, Modality, ModalityRegistry


__all__ = [
    "CombinedDataset",
    "DefaultDataCollator",
    "Example",
    "Modalities",
    "Modality",
    "ModalityRegistry",
    "collate_example_list",
    "find_matching_indices",
]
