"""What a decoder remembers between steps: keys and values, and which positions are real."""

import torch
from torch import Tensor


# Shapes: B batch, H heads, T new positions, C positions so far (the new ones included), S memory positions, K dim of a head,
# N rows after a reordering.

MIN_CAPACITY = 64  # positions; a text of this length is copied once


class KeyValueCache:
    """Keys and values of one attention.

    They stand in buffers that grow by doubling, so that a step costs no copy of what is there. While gradients are recorded
    nothing is written in place, because earlier steps need their keys and values on the way back.

    Attributes:
        length: Positions C that are there.

    Example:
        >>> cache = KeyValueCache()
        >>> keys, values = cache.update(torch.ones(2, 4, 3, 8), torch.ones(2, 4, 3, 8))
        >>> keys, values = cache.update(torch.ones(2, 4, 1, 8), torch.ones(2, 4, 1, 8))
        >>> cache.length, keys.shape
        (4, torch.Size([2, 4, 4, 8]))
    """

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self.length = 0

    def update(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Append positions; returns keys and values of all so far, (B, H, C, K) each."""
        self._keys = appended(self._keys, self.length, k_BHTK)
        self._values = appended(self._values, self.length, v_BHTK)
        self.length += k_BHTK.shape[2]
        return self.read()

    def read(self) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, C, K) of all positions so far; there must be some."""
        assert self._keys is not None
        assert self._values is not None
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def reorder(self, rows_N: Tensor) -> None:
        """Let row i continue what row ``rows_N[i]`` has begun; rows may be repeated or left out."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys.index_select(0, rows_N), self._values.index_select(0, rows_N)


class LayerCache:
    """What one block of a decoder remembers.

    Attributes:
        self_attention: Keys and values of the positions so far.
        cross_attention: Those of the memory: empty before the first step, written once.
    """

    def __init__(self) -> None:
        self.self_attention = KeyValueCache()
        self.cross_attention = KeyValueCache()


class DecoderCache:
    """What a decoder remembers: a :class:`LayerCache` a block, and the masks that the blocks share.

    Args:
        num_layers: Number of blocks.

    Attributes:
        layers: The cache of every block.
        mask_BC: True for real positions of those so far; None when all are.
        memory_mask_BS: The same for the memory.
    """

    def __init__(self, num_layers: int) -> None:
        self.layers = [LayerCache() for _ in range(num_layers)]
        self.mask_BC: Tensor | None = None
        self.memory_mask_BS: Tensor | None = None
        self._length = 0

    def get_seq_length(self) -> int:
        """Positions so far, padding included."""
        return self._length

    def extend(self, new: int, mask: Tensor | None) -> Tensor | None:
        """Count new positions.

        Args:
            new: Number T of new positions.
            mask: Nonzero for real positions: (B, T) of the new ones or (B, C) of all; None when the new ones are real.

        Returns:
            The mask (B, C) of all positions, True for real ones; None when all are.

        Raises:
            ValueError: The mask has another length.
        """
        past, self._length = self._length, self._length + new
        if mask is not None and mask.shape[1] not in (new, self._length):
            raise ValueError(
                f"attention_mask has {mask.shape[1]} positions. Give it for the {new} new tokens, or for all {self._length} with "
                "those in the cache."
            )
        if self.mask_BC is not None:
            new_BT = self.mask_BC.new_ones(len(self.mask_BC), new) if mask is None else mask[:, -new:].bool()
            self.mask_BC = torch.cat([self.mask_BC, new_BT], dim=1)
        elif mask is not None:
            past_BP = mask.new_ones(len(mask), past, dtype=torch.bool)
            self.mask_BC = torch.cat([past_BP, mask[:, -new:].bool()], dim=1)
        return self.mask_BC

    def reorder_cache(self, rows_N: Tensor, memory: bool = True) -> None:
        """Let row i continue what row ``rows_N[i]`` has begun; rows may be repeated or left out.

        Args:
            rows_N: Indices of rows.
            memory: Reorder what belongs to the memory too. False saves time where a row only ever continues one with the same
                memory, as the beams of one example do.
        """
        for layer in self.layers:
            layer.self_attention.reorder(rows_N)
            if memory:
                layer.cross_attention.reorder(rows_N)
        self.mask_BC = None if self.mask_BC is None else self.mask_BC.index_select(0, rows_N)
        if memory and self.memory_mask_BS is not None:
            self.memory_mask_BS = self.memory_mask_BS.index_select(0, rows_N)


def appended(buffer_BHSK: Tensor | None, at: int, x_BHTK: Tensor) -> Tensor:
    """The buffer with ``x_BHTK`` at position ``at`` and following; what is behind them is undefined."""
    if buffer_BHSK is None or at == 0:
        return x_BHTK
    if torch.is_grad_enabled():
        return torch.cat([buffer_BHSK[:, :, :at], x_BHTK], dim=2)
    end = at + x_BHTK.shape[2]
    if not _is_writable(buffer_BHSK, end, x_BHTK.dtype):
        buffer_BHSK = _enlarged(buffer_BHSK, at, x_BHTK, max(2 * end, MIN_CAPACITY))
    buffer_BHSK[:, :, at:end] = x_BHTK
    return buffer_BHSK


def _is_writable(buffer_BHSK: Tensor, end: int, dtype: torch.dtype) -> bool:
    # Outside of inference mode, tensors made within it are read-only.
    frozen = buffer_BHSK.is_inference() and not torch.is_inference_mode_enabled()
    return end <= buffer_BHSK.shape[2] and not (buffer_BHSK.requires_grad or frozen) and buffer_BHSK.dtype == dtype


def _enlarged(buffer_BHSK: Tensor, at: int, like_BHTK: Tensor, capacity: int) -> Tensor:
    batch, heads, _, dim = like_BHTK.shape
    larger_BHSK = like_BHTK.new_empty(batch, heads, capacity, dim)
    larger_BHSK[:, :, :at] = buffer_BHSK[:, :, :at]
    return larger_BHSK
