"""Find the span of a text that answers a question."""

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import QuestionAnsweringModelOutput
from transformers.utils.generic import can_return_tuple

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.model import MegaModel
from mmkit.models.mega.pretrained import MegaPreTrainedModel


# Shapes: B batch, L positions, D hidden_size.
class MegaForQuestionAnswering(MegaPreTrainedModel):
    """Mega that scores each position as the start and as the end of the answer."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise ValueError(f"num_labels={config.num_labels}: an answer has a start and an end. Give num_labels=2.")
        self.mega = MegaModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Score the positions; see :meth:`MegaModel.forward` for what is not told here.

        ``start_positions`` and ``end_positions`` (B,) tell where the answers are; those outside the sequence do not count.
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
        start_BL, end_BL = self.qa_outputs(outputs.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (position_loss(start_BL, start_positions) + position_loss(end_BL, end_positions)) / 2
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_BL.contiguous(),
            end_logits=end_BL.contiguous(),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


def position_loss(logits_BL: Tensor, positions: Tensor) -> Tensor:
    """Cross-entropy of the positions, (B,) or (B, 1); those beyond the sequence do not count."""
    length = logits_BL.shape[1]
    return F.cross_entropy(logits_BL, positions.to(logits_BL.device).view(-1).clamp(0, length), ignore_index=length)
