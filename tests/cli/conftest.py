"""A project of a user's own, as the guide describes it, in a directory of its own."""

from pathlib import Path

import pytest


PARTS = """
import torch
from torch import nn

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities


@external_store(group="datasets")
class Vectors(torch.utils.data.Dataset):
    def __init__(self, size: int = 24):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        vector = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return Example({EXAMPLE_INDEX_KEY: index, Modalities.RGB.name: vector, Modalities.TEXT.name: vector.flip(0)})


@external_store(group="modules/encoders")
class Linear(nn.Module):
    def __init__(self, modality: str, width: int = 4):
        super().__init__()
        if width < 1:
            raise ValueError(f"width={width}: it must be at least 1.")
        self.modality = modality
        self.linear = nn.Linear(4, width)

    def forward(self, inputs):
        return (nn.functional.normalize(self.linear(inputs[self.modality]), dim=-1),)
"""

EXPERIMENT = """# @package _global_
defaults:
- /datasets@datasets.train.vectors: Vectors
- /datasets@datasets.val.vectors: Vectors
- /modules/encoders@task.encoders.text: Linear
- /modules/encoders@task.encoders.rgb: Linear
- /modules/losses@task.loss: ContrastiveLoss
- /modules/optimizers@task.optimizer: AdamW
- override /task: ContrastivePretraining
- _self_

experiment_name: first
seed: 1
dataloader:
  train: {batch_size: 8, shuffle: true, pin_memory: false}
  val: {batch_size: 8, pin_memory: false}
task:
  encoders: {text: {modality: text}, rgb: {modality: rgb}}
  optimizer: {lr: 0.05}
trainer:
  accelerator: cpu
  max_epochs: 2
  enable_model_summary: false
exp_manager:
  create_csv_logger: true
  checkpoint_callback_params: {monitor: val/loss}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with ``my_project``, current."""
    configs = tmp_path / "my_project" / "configs"
    (configs / "experiment").mkdir(parents=True)
    (configs / "__init__.py").write_text("from my_project import parts\n")
    (configs / "experiment" / "first.yaml").write_text(EXPERIMENT)
    (tmp_path / "my_project" / "parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path
