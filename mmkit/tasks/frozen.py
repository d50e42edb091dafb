"""Use of a model that training must not notice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; random state and the mode of every submodule are restored afterwards."""
    modes = {submodule: submodule.training for submodule in module.modules()}
    module.eval()
    try:
        with isolate_rng(), torch.no_grad():
            yield
    finally:
        for submodule, training in modes.items():
            submodule.training = training
