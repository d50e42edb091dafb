"""Classify, or grade, a sequence."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.model import MegaModel
from mmkit.models.mega.pooling import first_real
from mmkit.models.mega.pretrained import MegaPreTrainedModel


logger = logging.get_logger(__name__)


def classifier_dropout(config: MegaConfig) -> nn.Dropout:
    """The dropout of the classification heads."""
    return nn.Dropout(config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout)


# Shapes: B batch, L positions, D hidden_size, C num_labels.
class ClassificationHead(nn.Module):
    """Two layers with tanh and dropout on one vector of the sequence."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = classifier_dropout(config)
        assert config.num_labels is not None
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(x_BD)))))


class MegaForSequenceClassification(MegaPreTrainedModel):
    """Mega that answers with classes, several labels at once, or numbers, read at the first real token.

    ``config.problem_type`` tells which: ``single_label_classification``, ``multi_label_classification`` or ``regression``.
    Without it the labels tell: one output is a regression, whole numbers are classes, fractions are several labels.
    """

    def __init__(self, config: MegaConfig) -> None:
        super().__init__(config)
        if config.is_decoder:
            logger.warning("This classifier reads the first token, which in a decoder sees only itself. Set is_decoder=False.")
        self.num_labels = config.num_labels
        self.mega = MegaModel(config, add_pooling_layer=False)
        self.classifier = ClassificationHead(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Answer for each sequence; see :meth:`MegaModel.forward` for what is not told here.

        ``labels`` are classes (B,), numbers (B,) or (B, C) for a regression, or 0 and 1 (B, C) for several labels.
        """
        outputs = self.mega(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits_BC = self.classifier(first_real(outputs.last_hidden_state, attention_mask))
        return SequenceClassifierOutput(
            loss=None if labels is None else classification_loss(logits_BC, labels, self.config.problem_type),
            logits=logits_BC,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


def classification_loss(logits_BC: Tensor, labels: Tensor, problem_type: str | None) -> Tensor:
    """The loss that fits the problem; without ``problem_type`` the one that fits the labels."""
    labels = labels.to(logits_BC.device)
    if problem_type is None:
        is_class = not labels.is_floating_point()
        classes = "single_label_classification" if is_class else "multi_label_classification"
        problem_type = "regression" if logits_BC.shape[-1] == 1 else classes
    if problem_type == "regression":
        return F.mse_loss(logits_BC, labels.view_as(logits_BC).to(logits_BC.dtype))
    if problem_type == "single_label_classification":
        return F.cross_entropy(logits_BC, labels.view(-1))
    return F.binary_cross_entropy_with_logits(logits_BC, labels.to(logits_BC.dtype))
