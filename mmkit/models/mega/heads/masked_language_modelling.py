"""Predict the tokens that were masked."""

from typing import ClassVar

from torch import Tensor, nn
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.heads.language_modelling_head import hidden_dense, vocabulary_scores
from mmkit.models.mega.loss import masked_language_modelling_loss
from mmkit.models.mega.model import MegaModel
from mmkit.models.mega.pretrained import MegaPreTrainedModel


logger = logging.get_logger(__name__)


# Shapes: B batch, L positions, S source positions, D hidden_size, V vocab_size.
class MegaForMaskedLM(MegaPreTrainedModel):
    """Mega that predicts masked tokens from both sides."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"mlm_head.weight": "mega.embedding_layer.word_embeddings.weight"}
    accepts_loss_kwargs = True  # transformers' Trainer then hands num_items_in_batch over

    def __init__(self, config: MegaConfig) -> None:
        super().__init__(config)
        if config.is_decoder:
            logger.warning("This MegaForMaskedLM sees the past only. Set is_decoder=False to let it see both sides.")
        self.mega = MegaModel(config, add_pooling_layer=False)
        self.dense = hidden_dense(config)
        self.mlm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.loss_function = masked_language_modelling_loss
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.mlm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.mlm_head = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> MaskedLMOutput:
        """Score the token at each position; see :meth:`MegaModel.forward` for what is not told here.

        ``labels`` are the tokens that were masked (B, L), -100 elsewhere. Their loss is divided by ``num_items_in_batch``, or
        without it by their number.
        """
        outputs = self.mega(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            use_cache=False,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = vocabulary_scores(outputs.last_hidden_state, self.dense, self.mlm_head)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, num_items_in_batch=num_items_in_batch
            )
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions)
