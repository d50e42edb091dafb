"""Choose among several continuations."""

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import MultipleChoiceModelOutput
from transformers.utils.generic import can_return_tuple

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.model import MegaModel
from mmkit.models.mega.pooling import first_real
from mmkit.models.mega.pretrained import MegaPreTrainedModel


# Shapes: B batch, O choices, L positions, D hidden_size.
class MegaForMultipleChoice(MegaPreTrainedModel):
    """Mega that scores each choice of a question and takes the best."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__(config)
        self.mega = MegaModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Score each choice.

        Args:
            input_ids: Tokens (B, O, L): question and choice together.
            token_type_ids: Types of the tokens (B, O, L).
            attention_mask: 1 or ``True`` at real tokens (B, O, L).
            labels: The right choices (B,).
            inputs_embeds: Vectors (B, O, L, D) in place of ``input_ids``.
            output_attentions: Return the attention weights, with B·O for B.
            output_hidden_states: Return the embeddings and the output of each block, with B·O for B.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None:
            raise ValueError("Give either input_ids or inputs_embeds; neither was given.")
        ids, types, mask, embedded = (
            None if each is None else each.flatten(0, 1) for each in (input_ids, token_type_ids, attention_mask, inputs_embeds)
        )
        outputs = self.mega(
            ids,
            mask,
            types,
            embedded,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        assert self.mega.pooler is not None
        pooled = self.mega.pooler(first_real(outputs.last_hidden_state, mask))
        logits_BO = self.classifier(self.dropout(pooled)).view(given.shape[:2])
        return MultipleChoiceModelOutput(
            loss=None if labels is None else F.cross_entropy(logits_BO, labels.to(logits_BO.device)),
            logits=logits_BO,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
