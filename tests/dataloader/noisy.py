"""Data sets whose examples are random, in every way that transforms are."""

import random
import time

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from mmkit.datasets.core import Example
from mmkit.experiment import rng


def noise() -> torch.Tensor:
    own = torch.rand((), generator=rng.generator("own"), dtype=torch.float64), rng.numpy_generator("own").random()
    values = (random.random(), np.random.rand(), np.random.normal(), torch.rand((), dtype=torch.float64), *own)
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


class Noisy(Dataset):
    def __init__(self, size: int = 10, offset: int = 0):
        self.size, self.offset = size, offset

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index >= self.size:
            raise IndexError
        return Example({"example_index": index, "rgb": torch.tensor(self.offset + index), "noise": noise()})

    def lengths(self, key):
        return [7 * index % 5 for index in range(self.size)]


class NoisyStream(IterableDataset):
    """Shuffles itself, with ordinary random functions."""

    def __init__(self, size: int = 10, shuffle: bool = True):
        self.size, self.shuffle = size, shuffle

    def __len__(self):
        return self.size

    def __iter__(self):
        order = torch.randperm(self.size).tolist() if self.shuffle else range(self.size)
        for index in order:
            yield Example({"example_index": index, "rgb": torch.tensor(index), "noise": noise()})


class Stalling(Noisy):
    """Does not return from position ``at`` for a while."""

    def __init__(self, size: int = 10, at: int = 5, seconds: float = 60.0):
        super().__init__(size)
        self.at, self.seconds = at, seconds

    def __getitem__(self, index):
        if index == self.at:
            time.sleep(self.seconds)
        return super().__getitem__(index)


class Broken(Noisy):
    def __getitem__(self, index):
        if index == 5:
            raise OSError("no such picture")
        return super().__getitem__(index)


def add_noise(texts):
    """A random batch processor."""
    return texts + noise().sum()
