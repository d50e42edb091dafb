"""Conversion between a cache layer and the tuple of the Hugging Face port."""

# Shapes: B batch, S positions, C slots of a chunk, Z shared representation, H values.
import torch
from torch import Tensor

from mmkit.models.mega.cache_layer import MegaCacheLayer
from mmkit.models.mega.chunk_memory import ChunkMemory
from mmkit.models.mega.chunk_slots import take


LegacyLayer = tuple[Tensor | None, ...]
LegacyCache = tuple[LegacyLayer, ...]


def layer_to_tuple(layer: MegaCacheLayer) -> LegacyLayer:
    """(self_key, self_value, self_ema_state) and, with cross-attention, cross_key and cross_value."""
    if layer.ema.pending_BPD is not None:
        raise ValueError("The state of the moving average is not known after crop(). Convert after the next step.")
    keys_BSZ, values_BSH = layer.keys, layer.values
    if keys_BSZ is None or values_BSH is None or keys_BSZ.shape[1] == 0:
        own: LegacyLayer = (None, None, layer.ema.state)
    else:
        # Copies: the buffers are written on by later steps.
        own = (keys_BSZ.clone(), values_BSH.clone(), layer.ema.state)
    return own if layer.cross.keys is None else (*own, layer.cross.keys, layer.cross.values)


def fill_layer(layer: MegaCacheLayer, states: LegacyLayer, mask_BS: Tensor | None, length: int | None) -> None:
    """Put the tensors of a tuple into an empty layer; see ``MegaCache.from_legacy_cache``."""
    if len(states) not in (3, 5):
        raise ValueError(f"A layer's past has 3 tensors, or 5 with cross-attention; {len(states)} were given.")
    keys, values, layer.ema.state = states[:3]
    if len(states) == 5:
        layer.cross.keys, layer.cross.values = states[3:]
    memory = layer.attention
    if isinstance(memory, ChunkMemory) and len(states) == 5 and length is None and mask_BS is None:
        raise ValueError(
            "With chunking a tuple does not tell the position, which cross-attention needs. "
            "Give the cache itself, or from_legacy_cache(..., length=positions seen so far)."
        )
    memory.keys, memory.values = keys, values
    mask_BS = None if mask_BS is None else mask_BS.bool()
    if length is None:
        length = mask_BS.shape[1] if mask_BS is not None else 0 if keys is None else keys.shape[1]
    memory.positions.advance(length, mask_BS)
    memory.mask = open_chunk_mask(memory, mask_BS) if isinstance(memory, ChunkMemory) and mask_BS is not None else mask_BS


def open_chunk_mask(memory: ChunkMemory, mask_BS: Tensor) -> Tensor:
    """The part (B, C) of the mask that belongs to each row's last chunk."""
    last_B = memory.positions.before(1)
    assert isinstance(last_B, Tensor)
    assert memory.positions.start_B is not None
    begin_B = last_B - last_B % memory.size + memory.positions.start_B
    source_BC = begin_B.unsqueeze(1) + torch.arange(memory.size, device=mask_BS.device)
    inside_BC = (source_BC >= 0) & (source_BC < mask_BS.shape[1])
    return take(mask_BS, source_BC.clamp(0, mask_BS.shape[1] - 1)) & inside_BC
