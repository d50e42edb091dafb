"""A small experiment of pictures and texts, as composed."""

from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from mmkit.datasets.core import Example


class Pictures(Dataset):
    """Pictures with captions. Made without arguments it has no data, and refuses to be built."""

    def __init__(self, channels: int = 3, side: int = 32, modality: str = "rgb", prepared: bool = False, captions: bool = True):
        if not prepared:
            raise RuntimeError("the data is not prepared")
        self.channels, self.side, self.modality, self.captions = channels, side, modality, captions

    @staticmethod
    def example_spec(channels=3, side=32, modality="rgb", prepared=False, captions=True):
        picture = torch.empty(channels, side, side, dtype=torch.uint8, device="meta")
        texts = {"text": "a picture of something"} if captions else {}
        return Example({"example_index": 0, modality: picture, "rgb_target": 0, **texts})

    def __len__(self):
        return 16

    def __getitem__(self, index):
        picture = torch.full((self.channels, self.side, self.side), index, dtype=torch.uint8)
        texts = {"text": f"picture {index}"} if self.captions else {}
        return Example({"example_index": index, self.modality: picture, "rgb_target": index % 2, **texts})


class Unsaid(Pictures):
    """Does not say what its examples hold."""

    example_spec: Any = None


class Secretive(nn.Module):
    """Decides by a value of its input."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


class Picky(nn.Module):
    """Takes what it takes by an argument that says the size."""

    def __init__(self, input_dim: int, proj_dim: int):
        super().__init__()
        self.linear = nn.Linear(input_dim, proj_dim)

    def forward(self, x):
        return self.linear(x)


def target(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": name, **arguments}


HERE = "tests.plan.parts"
ENCODERS, LAYERS = "mmkit.modules.encoders", "mmkit.modules.layers"
PICTURES = target(f"{HERE}.Pictures")
BYTES = target("mmkit.datasets.tokenizers.ByteTokenizer")
EXPERIMENT = {
    "experiment_name": "small",
    "seed": 0,
    "datasets": {"train": {"pictures": PICTURES}, "val": {"pictures": PICTURES}},
    "dataloader": {"train": {"batch_size": 8, "collate_fn": {"batch_processors": {"text": BYTES}}}},
    "trainer": {"max_steps": 10, "accelerator": "cpu"},
    "task": target(
        "mmkit.tasks.contrastive_pretraining.ContrastivePretraining",
        encoders={
            "rgb": target(f"{ENCODERS}.ConvEncoder", widths=[8, 16], normalization="imagenet"),
            "text": target(f"{ENCODERS}.TextTransformer", vocab_size=260, max_length=64, width=24, depth=1, num_heads=2),
        },
        heads={
            "rgb": {
                "norm": target("torch.nn.LayerNorm", normalized_shape=16),
                "mlp": target(f"{LAYERS}.MLP", in_dim=16, out_dim=12),
            },
            "text": target(f"{LAYERS}.MLP", in_dim=24, out_dim=12),
        },
        loss=target("mmkit.modules.losses.ContrastiveLoss", l2_normalize=True),
        optimizer=target("torch.optim.AdamW", _partial_=True, lr=0.001, weight_decay=0.1),
        lr_scheduler={"scheduler": target("torch.optim.lr_scheduler.OneCycleLR", _partial_=True, max_lr=0.1, total_steps=10)},
        evaluation_tasks={
            "retrieval": {
                "task": target(
                    "mmkit.tasks.zero_shot_retrieval.ZeroShotCrossModalRetrieval",
                    task_specs=[{"query_modality": "text", "target_modality": "rgb", "top_k": [1]}],
                )
            }
        },
    ),
}
