"""The Mega model: embeddings, blocks, pooling."""

from typing import Any

from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions
from transformers.utils.generic import can_return_tuple

from mmkit.models.mega.block import MegaBlock
from mmkit.models.mega.cache import MegaCache, as_mega_cache
from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.embeddings import MegaEmbeddings
from mmkit.models.mega.generation import step_mask
from mmkit.models.mega.pooling import MegaPooler
from mmkit.models.mega.pretrained import MegaPreTrainedModel


# Shapes: B batch, L positions, S source positions, D hidden_size, C chunks, T positions of a chunk.
class MegaModel(MegaPreTrainedModel):
    """An encoder, a decoder (``is_decoder=True``, ``bidirectional=False``), or one that also reads (``add_cross_attention``).

    Args:
        config: What to build.
        add_pooling_layer: Pool the first position too.
    """

    def __init__(self, config: MegaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.gradient_checkpointing = False
        self.embedding_layer = MegaEmbeddings(config)
        self.layers = nn.ModuleList([MegaBlock(config) for _ in range(config.num_hidden_layers)])
        self.pooler = MegaPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding_layer.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embedding_layer.word_embeddings = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | tuple[Any, ...] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """Encode sequences.

        Args:
            input_ids: Tokens (B, L).
            attention_mask: 1 or ``True`` at real tokens, 0 or ``False`` at pads: (B, L), or with a cache all of past and new.
            token_type_ids: Types of the tokens (B, L); type 0 without.
            inputs_embeds: Vectors (B, L, D) in place of ``input_ids``.
            encoder_hidden_states: What cross-attention reads (B, S, D).
            encoder_attention_mask: 1 or ``True`` at the real positions of that (B, S).
            past_key_values: A cache (or its documented tuple) of the positions before these.
            use_cache: Return a cache; by default a decoder does in evaluation, as ``config.use_cache`` says.
            output_attentions: Return the weights, (B, C, T, T) for each layer, and (B, L, S) of cross-attention.
            output_hidden_states: Return the embeddings and the output of each block, (B, L, D).

        Returns:
            With ``last_hidden_state`` (B, L, D), and ``pooler_output`` (B, D) of position 0.
        """
        x_BLD = self.embedding_layer(input_ids, token_type_ids, inputs_embeds)
        self._check_memory(encoder_hidden_states)
        if isinstance(past_key_values, tuple | list) and past_key_values:
            past_key_values = self._from_tuple(tuple(past_key_values), attention_mask, x_BLD.shape[1])
        cache = self._cache(past_key_values, use_cache)
        past_length = 0 if cache is None else cache.get_seq_length()
        if input_ids is not None and past_length == 0:
            self.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        last_BLD, hidden_states, attentions, cross_attentions = self._run_blocks(
            x_BLD,
            step_mask(attention_mask, past_length, x_BLD.shape[1]),
            encoder_hidden_states,
            None if encoder_attention_mask is None else encoder_attention_mask != 0,
            cache,
            bool(self.config.output_attentions if output_attentions is None else output_attentions),
            bool(self.config.output_hidden_states if output_hidden_states is None else output_hidden_states),
        )
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=last_BLD,
            pooler_output=self.pooler(last_BLD[:, 0]) if self.pooler is not None else None,
            past_key_values=None if use_cache is False else cache,
            hidden_states=hidden_states,
            attentions=attentions,
            cross_attentions=cross_attentions,
        )

    def _run_blocks(
        self,
        x_BLD: Tensor,
        mask_BL: Tensor | None,
        memory_BSD: Tensor | None,
        memory_mask_BS: Tensor | None,
        cache: MegaCache | None,
        output_attentions: bool,
        output_hidden_states: bool,
    ) -> tuple[Any, ...]:
        """The last block's output, and where asked for: all of them behind the embeddings, self- and cross-attention weights."""
        hidden_states, attentions, cross_attentions = [x_BLD], [], []
        for index, block in enumerate(self.layers):
            past = None if cache is None else cache.layers[index]
            x_BLD, weights_BCTT, cross_weights_BLS = block(
                x_BLD, mask_BL, memory_BSD, memory_mask_BS, past_key_values=past, output_attentions=output_attentions
            )
            if output_hidden_states:  # else each would stay in memory until the end
                hidden_states.append(x_BLD)
            attentions.append(weights_BCTT)
            cross_attentions.append(cross_weights_BLS)
        return (
            x_BLD,
            tuple(hidden_states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
            tuple(cross_attentions) if output_attentions and self.config.add_cross_attention else None,
        )

    def _check_memory(self, memory_BSD: Tensor | None) -> None:
        if memory_BSD is not None and not self.config.add_cross_attention:
            raise ValueError(
                "encoder_hidden_states were given to a model without cross-attention. "
                "Build it with is_decoder=True, bidirectional=False and add_cross_attention=True."
            )

    def _from_tuple(self, past: tuple[Any, ...], attention_mask: Tensor | None, length: int) -> MegaCache:
        """The documented tuple as a cache; a mask of all positions tells which of the past are real."""
        if attention_mask is None or attention_mask.shape[1] == length:
            return MegaCache.from_legacy_cache(past, self.config)
        past_mask = attention_mask[:, :-length]
        return MegaCache.from_legacy_cache(past, self.config, past_mask, past_mask.shape[1])

    def _cache(self, past_key_values: Any, use_cache: bool | None) -> MegaCache | None:
        """The cache to read and fill: the given one, or a new one where wanted."""
        checkpoints = self.gradient_checkpointing and self.training
        if checkpoints or not self.config.is_decoder:
            if past_key_values is not None and past_key_values.get_seq_length() > 0:
                reason = "gradient checkpointing runs each block twice" if checkpoints else "this model is no decoder"
                raise ValueError(f"past_key_values cannot be continued: {reason}. Give the whole sequence instead.")
            return None
        wanted = self.config.use_cache and not self.training if use_cache is None else use_cache
        return as_mega_cache(past_key_values, self.config) if wanted or past_key_values is not None else None
