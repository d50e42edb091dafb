"""Mega, moving average equipped gated attention (https://arxiv.org/abs/2209.10655), as models of transformers.

Importing the package lets transformers' Auto classes find Mega under ``model_type="mega"``.
"""

from mmkit.extras import require


require("transformers", extra="text", needed_by="mmkit.models.mega")

from mmkit.models.mega.cache import MegaCache  # noqa: E402
from mmkit.models.mega.configuration import MegaConfig  # noqa: E402
from mmkit.models.mega.heads.causal_language_modelling import MegaForCausalLM  # noqa: E402
from mmkit.models.mega.heads.masked_language_modelling import MegaForMaskedLM  # noqa: E402
from mmkit.models.mega.heads.multiple_choice import MegaForMultipleChoice  # noqa: E402
from mmkit.models.mega.heads.question_answering import MegaForQuestionAnswering  # noqa: E402
from mmkit.models.mega.heads.sequence_classification import MegaForSequenceClassification  # noqa: E402
from mmkit.models.mega.heads.token_classification import MegaForTokenClassification  # noqa: E402
from mmkit.models.mega.model import MegaModel  # noqa: E402
from mmkit.models.mega.pretrained import MegaPreTrainedModel  # noqa: E402
from mmkit.models.mega.registration import register_auto_classes  # noqa: E402


__all__ = [
    "MegaCache",
    "MegaConfig",
    "MegaForCausalLM",
    "MegaForMaskedLM",
    "MegaForMultipleChoice",
    "MegaForQuestionAnswering",
    "MegaForSequenceClassification",
    "MegaForTokenClassification",
    "MegaModel",
    "MegaPreTrainedModel",
]

register_auto_classes()
