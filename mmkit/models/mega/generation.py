"""Text generation with a Mega decoder (transformers' ``generate``)."""

# Shapes: B batch, L new positions.
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin
from transformers.generation.configuration_utils import GenerationMode

from mmkit.models.mega.cache import MegaCache, as_mega_cache


CACHE_IMPLEMENTATIONS = (None, "dynamic", "dynamic_full", "static")


class MegaGenerationMixin(GenerationMixin):
    """``generate`` with a ``MegaCache``.

    ``encoder_hidden_states`` and ``encoder_attention_mask`` may be given to ``generate`` of a decoder with cross-attention.
    """

    config: Any

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: dict[str, Any], generation_mode: Any, batch_size: int, max_cache_length: int
    ) -> None:
        """Put a ``MegaCache`` into ``model_kwargs``, the user's or a new one; ``static`` makes room for the whole text."""
        implementation = generation_config.cache_implementation
        if implementation not in CACHE_IMPLEMENTATIONS:
            raise ValueError(f"Mega has no cache_implementation={implementation!r}. Known: dynamic, static. Leave it out.")
        given = model_kwargs.get("past_key_values")
        mask = model_kwargs.get("attention_mask")
        if isinstance(given, tuple | list) and mask is not None and not mask.all():
            raise ValueError(
                "A tuple does not tell which of its positions are padding. "
                "Give past_key_values=MegaCache.from_legacy_cache(past, model.config, attention_mask=mask_of_the_past)."
            )
        if given is not None:
            model_kwargs["past_key_values"] = as_mega_cache(given, self.config)
            # The mixin's own type asks for a whole model as self.
            prepare: Any = super()._prepare_cache_for_generation  # pyright: ignore[reportAttributeAccessIssue]
            prepare(generation_config, model_kwargs, generation_mode, batch_size, max_cache_length)
        elif generation_config.use_cache is not False:
            room = max_cache_length if implementation == "static" else 0
            model_kwargs["past_key_values"] = MegaCache(self.config, room)
        takes_back = generation_config.is_assistant or generation_mode == GenerationMode.ASSISTED_GENERATION
        if takes_back and "past_key_values" in model_kwargs:
            model_kwargs["past_key_values"].activate_past_recording()

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *args: Any, inputs_embeds: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """What the next step is called with; older versions of transformers add positions, which the cache knows."""
        prepare: Any = super().prepare_inputs_for_generation  # pyright: ignore[reportAttributeAccessIssue]
        # transformers looks for the name inputs_embeds in this signature.
        inputs = prepare(input_ids, *args, inputs_embeds=inputs_embeds, **kwargs)
        inputs.pop("cache_position", None)
        return inputs


def step_mask(attention_mask: Tensor | None, past_length: int, length: int) -> Tensor | None:
    """The mask (B, L) of the ``length`` new positions, True for real ones.

    Args:
        attention_mask: Of the new positions, or of all positions so far; any dtype, 0 for padding. None when all are real.
        past_length: Positions that the cache has seen; it remembers their padding.
        length: New positions.
    """
    if attention_mask is None:
        return None
    if attention_mask.shape[1] not in (length, past_length + length):
        raise ValueError(
            f"attention_mask has {attention_mask.shape[1]} positions. Give it for the {length} new tokens, "
            f"or for all {past_length + length} with those in the cache."
        )
    return attention_mask[:, -length:].to(torch.bool)
