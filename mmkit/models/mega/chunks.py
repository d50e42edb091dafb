"""Self-attention within chunks: linear in the length (arXiv 2209.10655, Mega-chunk)."""

# Shapes: B batch, L positions, C chunks, T positions of a chunk (as queries), S the same (as keys), Z shared representation,
# H values, X features of any kind.
import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.models.mega.attend import attend
from mmkit.models.mega.attention_functions import AttentionActivation
from mmkit.models.mega.relative_bias import RelativeBias


def self_attend(
    q_BLZ: Tensor,
    k_BLZ: Tensor,
    v_BLH: Tensor,
    bias: RelativeBias,
    activation: AttentionActivation,
    *,
    causal: bool,
    chunk_size: int | None = None,
    mask_BL: Tensor | None = None,
    start_B: Tensor | None = None,
    dropout_p: float = 0.0,
    return_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attend from every position to those of its chunk; without ``chunk_size`` the sequence is one chunk.

    Chunks are counted from the first real position of each row, and the last one may be short, so padding changes nothing.

    Args:
        q_BLZ: Queries, not scaled.
        k_BLZ: Keys.
        v_BLH: Values.
        bias: Gives a value for each ``key position - query position``.
        activation: Name of the function from scores to weights.
        causal: Hide the keys after a query's own position.
        chunk_size: Positions of a chunk.
        mask_BL: True for real positions.
        start_B: Where the first chunk of each row begins, by default its first real position; what lies before is padding.
        dropout_p: Part of the weights that is set to zero.
        return_weights: Also give the weights.

    Returns:
        The mixed values (B, L, H), and the weights (B, C, T, S) if they are asked for.
    """
    batch, length = q_BLZ.shape[:2]
    size = length if chunk_size is None else min(chunk_size, length)
    if mask_BL is None and not causal and length % size:
        mask_BL = q_BLZ.new_ones(batch, length, dtype=torch.bool)
    chunks = Chunks(length, size, mask_BL, start_B)
    y, weights = attend(
        chunks.split(q_BLZ),
        chunks.split(k_BLZ),
        chunks.split(v_BLH),
        bias,
        activation,
        causal=causal,
        mask_BS=see_padding_if_alone(chunks.mask) if activation == "softmax" else chunks.mask,
        first_B=chunks.start_B if size == length else 0,
        dropout_p=dropout_p,
        return_weights=return_weights,
    )
    weights_BCTS = None if weights is None else weights.unflatten(0, (batch, -1))
    return chunks.join(y), weights_BCTS


def see_padding_if_alone(mask_BS: Tensor | None) -> Tensor | None:
    """Let a row of nothing but padding see itself, as the original implementation does: its output is padding too."""
    return None if mask_BS is None else mask_BS | ~mask_BS.any(-1, keepdim=True)


class Chunks:
    """How the positions of a batch fall into chunks.

    Args:
        length: Positions of a row.
        size: Positions of a chunk.
        mask_BL: True for real positions.
        start_B: Where chunks begin; by default at the first real position.
    """

    def __init__(self, length: int, size: int, mask_BL: Tensor | None, start_B: Tensor | None = None) -> None:
        self.length, self.size = length, size
        self.padding = -length % size
        self.start_B = mask_BL.int().argmax(-1) if start_B is None and mask_BL is not None else start_B
        self.mask = None if mask_BL is None else self.split(mask_BL.unsqueeze(-1)).squeeze(-1)

    def split(self, x_BLX: Tensor) -> Tensor:
        """Fold the chunks into the batch: (B, L, X) to (B C, T, X)."""
        if self.size == self.length:
            return x_BLX
        x_BLX = shift(x_BLX, self.start_B)
        if self.padding:
            x_BLX = F.pad(x_BLX, (0, 0, 0, self.padding))
        return x_BLX.reshape(-1, self.size, x_BLX.shape[-1])

    def join(self, x: Tensor) -> Tensor:
        """Undo ``split``."""
        if self.size == self.length:
            return x
        x_BLX = x.reshape(-1, self.length + self.padding, x.shape[-1])[:, : self.length]
        return shift(x_BLX, None if self.start_B is None else -self.start_B)


def shift(x_BLX: Tensor, steps_B: Tensor | None) -> Tensor:
    """Move each row ``steps_B`` positions to the front; what leaves there comes back at the end."""
    if steps_B is None:
        return x_BLX
    position_L = torch.arange(x_BLX.shape[1], device=x_BLX.device)
    source_BL = (position_L + steps_B[:, None]) % x_BLX.shape[1]
    return x_BLX.gather(1, source_BL[..., None].expand_as(x_BLX))
