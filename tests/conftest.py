"""What every test relies on: one thread, and global registries as they were."""

import copy
from collections.abc import Iterator

import pytest
import torch
from hydra.core.config_store import ConfigStore

from mmkit.datasets.core import Modalities


torch.set_num_threads(1)  # several workers share two cores; more threads only make tests slower


@pytest.fixture(autouse=True)
def clean_modalities() -> Iterator[None]:
    """Undo what the test registers in ``Modalities``."""
    before = copy.deepcopy(vars(Modalities))
    yield
    vars(Modalities).clear()
    vars(Modalities).update(before)
