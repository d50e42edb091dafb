"""A small contrastive task with encoders, heads and tied weights."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmkit.archive import build
from mmkit.archive.registry import registered_objects
from tests.archive import parts


LINEAR = {"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 4}
CONFIG: dict[str, Any] = {
    "_target_": "mmkit.tasks.contrastive_pretraining.ContrastivePretraining",
    "encoders": {
        "rgb": {
            "_target_": "mmkit.modules.encoders.VisionTransformer",
            "image_size": 8,
            "patch_size": 4,
            "width": 8,
            "depth": 1,
            "num_heads": 2,
        },
        "text": {
            "_target_": "mmkit.modules.encoders.TextTransformer",
            "vocab_size": 30,
            "max_length": 8,
            "width": 8,
            "depth": 1,
            "num_heads": 2,
        },
    },
    "heads": {
        "rgb": {"norm": {"_target_": "torch.nn.LayerNorm", "normalized_shape": 8}, "linear": LINEAR},
        "text": {"_target_": "mmkit.modules.layers.MLP", "in_dim": 8, "out_dim": 4, "dropout": 0.1},
    },
    "loss": {"_target_": "mmkit.modules.losses.ContrastiveLoss", "l2_normalize": True},
    "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.01},
    "lr_scheduler": {
        "scheduler": {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "step_size": 3},
        "extras": {"interval": "step"},
    },
    "evaluation_tasks": {
        "retrieval": {
            "task": {
                "_target_": "mmkit.tasks.zero_shot_retrieval.ZeroShotCrossModalRetrieval",
                "task_specs": [{"query_modality": "text", "target_modality": "rgb", "top_k": [1]}],
            },
        },
    },
}


@pytest.fixture
def filled_store() -> None:
    """Let the groups be filled before ``clean_store`` looks at them."""
    registered_objects()


@pytest.fixture
def registered_parts(filled_store: None, clean_store: None) -> None:
    """The components of ``parts.py`` are registered while the test runs."""
    parts.register()


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(CONFIG)


@pytest.fixture
def task(config: dict[str, Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return build(config)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "rgb": torch.rand(3, 3, 8, 8, generator=generator),
        "text": torch.randint(1, 30, (3, 6), generator=generator),
        "text_attention_mask": torch.ones(3, 6, dtype=torch.long),
    }


@pytest.fixture
def embed(batch: dict[str, Tensor]) -> Callable[[Any], dict[str, Tensor]]:
    @torch.no_grad()
    def embeddings(task: Any) -> dict[str, Tensor]:
        return task.eval()(batch)

    return embeddings
