"""Tasks: what is trained (group ``task``) and what is measured on it (group ``eval_task``)."""

from mmkit.tasks.causal_language_modeling import CausalLanguageModeling
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining
from mmkit.tasks.encoder_decoder_pretraining import EncoderDecoderPretraining
from mmkit.tasks.knn import KNNClassification
from mmkit.tasks.linear_probe import LinearProbe
from mmkit.tasks.masked_language_modeling import MaskedLanguageModeling
from mmkit.tasks.sequence_classification import SequenceClassification
from mmkit.tasks.zero_shot_classification import ZeroShotClassification
from mmkit.tasks.zero_shot_retrieval import ZeroShotCrossModalRetrieval


__all__ = [
    "CausalLanguageModeling",
    "ContrastivePretraining",
    "EncoderDecoderPretraining",
    "KNNClassification",
    "LinearProbe",
    "MaskedLanguageModeling",
    "SequenceClassification",
    "ZeroShotClassification",
    "ZeroShotCrossModalRetrieval",
]
