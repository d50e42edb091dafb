"""A decoder as a function of the latest tokens, whatever it remembers between steps."""

from typing import Any

import torch
from torch import Tensor, nn

from mmkit.modules.layers.sequence.cache import DecoderCache


# Shapes: N rows, S memory positions, Z their size, T tokens so far, V vocabulary.


class DecoderSteps:
    """Decode a token a step with any decoder of Hugging Face's calling convention.

    A decoder that returns no ``past_key_values`` is run on all tokens again in every step.

    Args:
        decoder: Takes ``input_ids, encoder_hidden_states, encoder_attention_mask, attention_mask, past_key_values, use_cache``.
        memory_NSZ: What it attends to.
        memory_mask_NS: Nonzero where that is real; None when all is.
    """

    def __init__(self, decoder: nn.Module, memory_NSZ: Tensor, memory_mask_NS: Tensor | None) -> None:
        self.decoder, self.memory_NSZ, self.memory_mask_NS = decoder, memory_NSZ, memory_mask_NS
        self._ids_NT = torch.empty(len(memory_NSZ), 0, dtype=torch.long, device=memory_NSZ.device)
        self._cache: Any = None

    def __call__(self, tokens_N: Tensor) -> Tensor:
        """The logits (N, V) of what follows these tokens; their dtype is at least float32."""
        self._ids_NT = torch.cat([self._ids_NT, tokens_N.unsqueeze(1)], dim=1)
        output = self.decoder(
            input_ids=self._ids_NT if self._cache is None else tokens_N.unsqueeze(1),
            attention_mask=torch.ones_like(self._ids_NT) if getattr(self.decoder, "needs_attention_mask", True) else None,
            encoder_hidden_states=self.memory_NSZ,
            encoder_attention_mask=self.memory_mask_NS,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        logits_NV = output.logits[:, -1]
        return logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()

    def reorder(self, rows_N: Tensor) -> None:
        """Let row i continue what row ``rows_N[i]`` has begun, which must have the same memory."""
        self._ids_NT = self._ids_NT.index_select(0, rows_N)
        if isinstance(self._cache, DecoderCache):
            self._cache.reorder_cache(rows_N, memory=False)
        elif self._cache is not None:
            # transformers' EncoderDecoderCache consists of two, of which that of the memory would not change
            getattr(self._cache, "self_attention_cache", self._cache).reorder_cache(rows_N)
