"""Tiny decoders whose distributions differ from token to token."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mmkit.modules.decoders import TransformerDecoder


class WithoutCache(nn.Module):
    """A decoder that has no cache to return."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, past_key_values=None, use_cache=True, **inputs):
        assert past_key_values is None
        output = self.decoder(**inputs, use_cache=False)
        output.past_key_values = None
        return output


@pytest.fixture
def without_cache() -> type[nn.Module]:
    """Wraps a decoder in one that has no cache to return."""
    return WithoutCache


@pytest.fixture
def make_decoder() -> Callable[..., nn.Module]:
    """A decoder of random, large weights, in evaluation mode; the same for the same arguments."""

    def make(vocab_size: int = 7, memory_size: int = 6, seed: int = 0, scale: float = 0.4, **options) -> TransformerDecoder:
        torch.manual_seed(seed)
        options |= {"memory_size": memory_size, "tie_word_embeddings": False}  # tied ones tend to repeat a token
        model = TransformerDecoder(vocab_size, 16, num_layers=2, **options).eval()
        for weight in model.parameters():
            if weight.ndim == 2:  # large biases would prefer a token wherever it stands
                nn.init.normal_(weight, std=scale)
        model.lm_head.weight.data[2] *= 2  # ends are neither rare nor sure
        return model

    return make
