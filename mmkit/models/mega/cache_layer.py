"""What one Mega block remembers between decoding steps."""

# Shapes: B batch, T new positions, S positions so far, Z shared representation, H values.
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from mmkit.models.mega.batch_state import BatchState
from mmkit.models.mega.bias_table import BiasTable
from mmkit.models.mega.chunk_memory import ChunkMemory
from mmkit.models.mega.cross_memory import CrossMemory
from mmkit.models.mega.ema_memory import EmaMemory
from mmkit.models.mega.ema_step import EmaStep
from mmkit.models.mega.key_value_memory import KeyValueMemory


class MegaCacheLayer(CacheLayerMixin):
    """Keys, values and padding of self-attention, state of the moving average, keys and values of cross-attention.

    Args:
        chunk_size: Positions of a chunk; None when attention sees everything.
        capacity: Positions for which there is room from the beginning (without chunks).
    """

    is_croppable = True
    supports_early_init = False

    def __init__(self, chunk_size: int | None = None, capacity: int = 0) -> None:
        # The base class would set keys and values, which are views of the memory here.
        self._chunk_size, self._capacity = chunk_size, capacity
        self.record_past = False
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        size = self._chunk_size
        self.attention = KeyValueMemory(self._capacity) if size is None else ChunkMemory(size)
        self.ema = EmaMemory()
        self.cross = CrossMemory()
        self.ema_step = EmaStep()
        self.bias, self.cross_bias = BiasTable(), BiasTable()

    @property
    def keys(self) -> Tensor | None:
        """Keys (B, S, Z) that attention can still see."""
        return self.attention.live()[0]

    @property
    def values(self) -> Tensor | None:
        """Values (B, S, H) that attention can still see."""
        return self.attention.live()[1]

    @property
    def is_initialized(self) -> bool:
        """Whether a step has been taken."""
        return self.attention.keys is not None

    @property
    def batch_size(self) -> int:
        """Rows of the batch; -1 before the first step."""
        return -1 if self.attention.keys is None else self.attention.keys.shape[0]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the first step makes the buffers."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Append keys (B, T, Z) and values (B, T, H) without padding, and give what the last position sees."""
        visible = self.attention.append(key_states, value_states, None, self.record_past)
        return visible.keys_BSZ, visible.values_BSH

    def get_seq_length(self) -> int:
        """Positions seen so far, padding included."""
        return self.attention.positions.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length of a mask for the next ``query_length`` positions, and its first position."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """-1: there is no limit."""
        return -1

    def get_max_cache_shape(self) -> int:
        """What older versions of transformers call ``get_max_length``."""
        return -1

    def activate_past_recording(self) -> None:
        """Keep what ``crop`` needs from now on."""
        self.record_past = True

    def crop(self, tokens_to_remove: int) -> None:
        """Take back the last ``-tokens_to_remove`` positions, which must have come since the last crop.

        A positive number is the length to go back to, as older versions of transformers call it.

        Raises:
            RuntimeError: If so many were not recorded.
        """
        too_many = max(0, self.get_seq_length() - tokens_to_remove) if tokens_to_remove > 0 else -tokens_to_remove
        self.ema.crop(too_many)
        self.attention.crop(too_many)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let row i continue what row ``beam_idx[i]`` has begun."""
        self._map_rows(lambda x: x.index_select(0, beam_idx.to(x.device)))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the rows ``indices`` only."""
        self._map_rows(lambda x: x[indices])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row ``repeats`` times."""
        self._map_rows(lambda x: x.repeat_interleave(repeats, dim=0))

    def offload(self) -> None:
        """Move everything to the CPU."""
        self._map_rows(lambda x: x.to("cpu"))

    def prefetch(self) -> None:
        """Nothing to do: Mega's cache is not offloaded between steps."""

    def _map_rows(self, change) -> None:
        states: tuple[BatchState, ...] = (self.attention, self.ema, self.cross)
        for state in states:
            state.map_rows(change)
