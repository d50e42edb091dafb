"""The cache of a Mega decoder (transformers' ``Cache``)."""

from collections.abc import Iterator
from typing import Any, Self

from torch import Tensor
from transformers.cache_utils import Cache

from mmkit.models.mega.cache_layer import MegaCacheLayer
from mmkit.models.mega.legacy_cache import LegacyCache, LegacyLayer, fill_layer, layer_to_tuple


class MegaCache(Cache):
    """Memory of a Mega decoder between steps; a step may have any number of tokens.

    Args:
        config: The decoder's configuration.
        max_cache_len: Positions for which there is room from the beginning; more are taken when needed.

    Example:
        >>> from mmkit.models.mega import MegaConfig
        >>> cache = MegaCache(MegaConfig(num_hidden_layers=2))
        >>> len(cache), cache.get_seq_length()
        (2, 0)
    """

    layers: list[MegaCacheLayer]

    def __init__(self, config: Any, max_cache_len: int = 0) -> None:
        chunk_size = config.chunk_size if config.use_chunking else None
        super().__init__(layers=[MegaCacheLayer(chunk_size, max_cache_len) for _ in range(config.num_hidden_layers)])

    @property
    def batch_size(self) -> int:
        """Rows of the batch; -1 before the first step."""
        return self.layers[0].batch_size

    def activate_past_recording(self) -> None:
        """Keep from now on what ``crop`` needs to take back the positions that come after it was last called."""
        for layer in self.layers:
            layer.activate_past_recording()

    def __getitem__(self, index: int) -> LegacyLayer:
        """The tuple of one layer, as in ``to_legacy_cache``."""
        return layer_to_tuple(self.layers[index])

    def __iter__(self) -> Iterator[LegacyLayer]:
        return iter(self.to_legacy_cache())

    def to_legacy_cache(self) -> LegacyCache:
        """A tuple a layer: self_key (B, L, Z), self_value (B, L, H), self_ema_state, cross_key (B, S, Z), cross_value (B, S, D).

        The last two are left out without cross-attention. With chunking, keys and values are those of the open chunk, None at
        its end. Padding is not part of the tuple: hand its mask to ``from_legacy_cache``.
        """
        return tuple(layer_to_tuple(layer) for layer in self.layers)

    @classmethod
    def from_legacy_cache(
        cls, past: LegacyCache, config: Any, attention_mask: Tensor | None = None, length: int | None = None
    ) -> Self:
        """A cache that continues the tuple.

        Args:
            past: One tuple a layer, as from ``to_legacy_cache`` or the Hugging Face port.
            config: The decoder's configuration.
            attention_mask: Real positions (B, length) of all the past; None when there was no padding.
            length: Positions seen so far; needed only with chunking and cross-attention, where the tuple does not tell.
        """
        cache = cls(config)
        if len(past) != len(cache.layers):
            raise ValueError(f"The past has {len(past)} layers, the configuration {len(cache.layers)}. Give one tuple a layer.")
        for layer, states in zip(cache.layers, past, strict=True):
            fill_layer(layer, states, attention_mask, length)
        return cache


def as_mega_cache(past: Any, config: Any) -> MegaCache:
    """``past`` as a ``MegaCache``: itself, a converted tuple, or a new one for None, an empty tuple, or another empty cache."""
    if isinstance(past, MegaCache):
        if len(past.layers) != config.num_hidden_layers:
            raise ValueError(
                f"The cache has {len(past.layers)} layers, the model {config.num_hidden_layers}. Make it of the model's config."
            )
        return past
    if isinstance(past, tuple | list):
        return MegaCache.from_legacy_cache(tuple(past), config) if past else MegaCache(config)
    # EncoderDecoderModel makes transformers' own cache before it knows its decoder.
    if past is None or (isinstance(past, Cache) and past.get_seq_length() == 0):
        return MegaCache(config)
    raise TypeError(
        f"Mega cannot continue a {type(past).__name__}: it has no state of the moving average. "
        "Give past_key_values=MegaCache(model.config), or leave it out."
    )
