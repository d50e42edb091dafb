"""Tasks: what is trained (group ``task``) and what is measured on it (group ``eval_task``)."""

from mmkit.tasks.contrastive_pretraining import ContrastivePretraining
from mmkit.tasks.knn import KNNClassification
from mmkit.tasks.linear_probe import LinearProbe
from mmkit.tasks.zero_shot_classification import ZeroShotClassification
from mmkit.tasks.zero_shot_retrieval import ZeroShotCrossModalRetrieval


__all__ = ["ContrastivePretraining", "KNNClassification", "LinearProbe", "ZeroShotClassification", "ZeroShotCrossModalRetrieval"]
