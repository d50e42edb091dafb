"""Make transformers' Auto classes know Mega."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.heads.causal_language_modelling import MegaForCausalLM
from mmkit.models.mega.heads.masked_language_modelling import MegaForMaskedLM
from mmkit.models.mega.heads.multiple_choice import MegaForMultipleChoice
from mmkit.models.mega.heads.question_answering import MegaForQuestionAnswering
from mmkit.models.mega.heads.sequence_classification import MegaForSequenceClassification
from mmkit.models.mega.heads.token_classification import MegaForTokenClassification
from mmkit.models.mega.model import MegaModel


AUTO_CLASSES = {
    AutoModel: MegaModel,
    AutoModelForCausalLM: MegaForCausalLM,
    AutoModelForMaskedLM: MegaForMaskedLM,
    AutoModelForMultipleChoice: MegaForMultipleChoice,
    AutoModelForQuestionAnswering: MegaForQuestionAnswering,
    AutoModelForSequenceClassification: MegaForSequenceClassification,
    AutoModelForTokenClassification: MegaForTokenClassification,
}


def register_auto_classes() -> None:
    """Register every Mega model under ``model_type="mega"``; calling it again changes nothing."""
    AutoConfig.register(MegaConfig.model_type, MegaConfig, exist_ok=True)
    for auto_class, model_class in AUTO_CLASSES.items():
        auto_class.register(MegaConfig, model_class, exist_ok=True)
