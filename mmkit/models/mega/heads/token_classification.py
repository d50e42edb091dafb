"""Classify each token."""

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils.generic import can_return_tuple

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.heads.sequence_classification import classifier_dropout
from mmkit.models.mega.model import MegaModel
from mmkit.models.mega.pretrained import MegaPreTrainedModel


# Shapes: B batch, L positions, D hidden_size, C num_labels.
class MegaForTokenClassification(MegaPreTrainedModel):
    """Mega that gives each token a class, e.g. for named entities."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__(config)
        assert config.num_labels is not None
        self.num_labels = config.num_labels
        self.mega = MegaModel(config, add_pooling_layer=False)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
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
    ) -> TokenClassifierOutput:
        """Score the classes of each token; see :meth:`MegaModel.forward` for what is not told here.

        ``labels`` are classes (B, L); -100 is ignored.
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
        logits_BLC = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits_BLC.flatten(0, 1), labels.flatten().to(logits_BLC.device))
        return TokenClassifierOutput(
            loss=loss, logits=logits_BLC, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
