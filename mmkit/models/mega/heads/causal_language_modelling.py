"""Predict the next token."""

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.generation import MegaGenerationMixin
from mmkit.models.mega.heads.language_modelling_head import hidden_dense, vocabulary_scores
from mmkit.models.mega.loss import causal_language_modelling_loss
from mmkit.models.mega.model import MegaModel
from mmkit.models.mega.pretrained import MegaPreTrainedModel


logger = logging.get_logger(__name__)


# Shapes: B batch, L positions, S source positions, D hidden_size, V vocab_size.
class MegaForCausalLM(MegaGenerationMixin, MegaPreTrainedModel):
    """Mega that predicts the next token; it also generates."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "mega.embedding_layer.word_embeddings.weight"}
    accepts_loss_kwargs = True  # transformers' Trainer then hands num_items_in_batch over

    def __init__(self, config: MegaConfig) -> None:
        super().__init__(config)
        if not config.is_decoder:
            logger.warning("This MegaForCausalLM sees the tokens it predicts. Add is_decoder=True and bidirectional=False.")
        self.mega = MegaModel(config, add_pooling_layer=False)
        self.dense = hidden_dense(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.loss_function = causal_language_modelling_loss
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.lm_head = new_embeddings

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
        past_key_values: Cache | tuple[Any, ...] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
    ) -> CausalLMOutputWithCrossAttentions:
        """Score the next token at each position; see :meth:`MegaModel.forward` for what is not told here.

        ``labels`` are tokens (B, L), unshifted; -100 is ignored. Their loss is divided by ``num_items_in_batch``, or without
        it by their number. ``logits_to_keep`` scores the last so many positions only (0: all), or those of a tensor; with
        ``labels`` all are scored.
        """
        outputs = self.mega(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds,
            encoder_hidden_states,
            encoder_attention_mask,
            past_key_values,
            use_cache if labels is None else False,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        kept = kept if labels is None else slice(None)
        logits = vocabulary_scores(outputs.last_hidden_state[:, kept], self.dense, self.lm_head)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, num_items_in_batch=num_items_in_batch
            )
        return CausalLMOutputWithCrossAttentions(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
        )
