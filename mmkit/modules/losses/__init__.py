"""Losses: contrastive ones, and every loss of torch under its own name (config group ``modules/losses``)."""

from mmkit.conf.store import register_table
from mmkit.modules.losses.contrastive import ContrastiveLoss
from mmkit.modules.losses.sigmoid import SigmoidLoss


__all__ = ["ContrastiveLoss", "SigmoidLoss"]

TORCH_LOSSES = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "GaussianNLLLoss",
    "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "LinearCrossEntropyLoss", "MSELoss",
    "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss",
    "NLLLoss2d", "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]  # fmt: skip

register_table("torch.nn.modules.loss", TORCH_LOSSES, group="modules/losses")
