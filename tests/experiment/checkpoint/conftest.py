from collections import OrderedDict

import pytest
import torch
from torch import Tensor

from mmkit.experiment.checkpoint import DirectoryCheckpointIO


@pytest.fixture
def content():
    """Make a small checkpoint that is different for every step."""

    def make(step, score=None):
        generator = torch.Generator().manual_seed(step)
        tied = torch.randn(4, 3, generator=generator)
        weights = OrderedDict(embed=tied, bias=torch.randn(3, generator=generator), head=tied)
        moments = {"step": torch.tensor(float(step)), "exp_avg": torch.randn(4, 3, generator=generator)}
        moments["exp_avg_sq"] = torch.randn(2, 512, generator=generator)  # large enough for a file of its own
        weights._metadata = OrderedDict({"": {"version": 1}})
        return {
            "epoch": step // 10,
            "global_step": step,
            "pytorch-lightning_version": "2.6.6",
            "state_dict": weights,
            "optimizer_states": [{"state": {0: moments}}],
            "mmkit_state": {"step": step, "epoch": step // 10, "score": score, "monitor": "val/loss"},
        }

    return make


@pytest.fixture
def save(content):
    """Save a small checkpoint as ``step-<number>`` in a directory, and return its path."""

    def save(directory, step, score=None, config_yaml="seed: 1\n"):
        path = directory / f"step-{step:06d}"
        DirectoryCheckpointIO(config_yaml, asynchronous=False).save_checkpoint(content(step, score), path)
        return path

    return save


@pytest.fixture
def assert_same():
    """Compare nested values by type and by bit."""

    def same(first, second, path="checkpoint"):
        assert type(first) is type(second), path
        if isinstance(first, Tensor):
            assert (first.dtype, first.shape) == (second.dtype, second.shape), path
            bits = [value.detach().contiguous().flatten().view(torch.uint8) for value in (first, second)]
            assert torch.equal(*bits), path
        elif isinstance(first, dict):
            assert list(first) == list(second), path
            for key in first:
                same(first[key], second[key], f"{path}.{key}")
            assert getattr(first, "_metadata", None) == getattr(second, "_metadata", None)
        elif isinstance(first, list | tuple):
            assert len(first) == len(second), path
            for number, pair in enumerate(zip(first, second, strict=True)):
                same(*pair, f"{path}[{number}]")
        else:
            assert first == second or (first != first and second != second), path

    return same
