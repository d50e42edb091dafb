"""A tokenizer and a frozen encoder in one: text to features, for models that were trained on cached features."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.conf.store import external_store


@external_store(group="datasets/tokenizers")
class EncodedText:
    """Tokenize, then encode, where a model reads features instead of tokens.

    A model trained on an ``EncodedDataset`` needs this for any other text: class names, free-text queries.

    Args:
        tokenizer: Maps a list of M strings to the inputs of the encoder.
        encoder: Takes them and returns a sequence whose first item is (M, D). It is frozen here.
        modality: Names the key of the result.
    """

    def __init__(
        self, tokenizer: Callable[[Sequence[str]], Mapping[str, Tensor]], encoder: nn.Module, modality: str = "text"
    ) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder.requires_grad_(False).eval()
        self.modality = modality

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> dict[str, Any]:
        """Features ``{"text": (M, D)}`` of M strings, on the CPU."""
        return {self.modality: self.encoder(dict(self.tokenizer(texts)))[0]}
