"""How a loss over all pairs of rows stays linear in memory: its logits are made a block of rows at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


# A tile of float32 logits is 8 MiB: it stays in a processor's last cache, and with 16,384 columns it is 128 rows high, which is
# enough for matrix products at full speed.
TILE_LOGITS = 2**21


# Shapes: M rows of a, K rows of b, D embedding dim, P positive pairs, T rows of a tile, Q positive pairs of a tile.
class Tile(NamedTuple):
    """A block of rows of the logits."""

    rows: slice
    positives: slice  # of the P positive pairs, those in this tile
    positive_index: tuple[Tensor, Tensor]  # where they are in it: rows (Q,) and columns (Q,)
    scaled_TD: Tensor  # the rows of a, times the scale
    logits_TK: Tensor  # the next tile takes the same memory
    scratch_TK: Tensor


def made_at_once(a_MD: Tensor, b_KD: Tensor) -> bool:
    """Whether the logits are few enough to be made at once.

    At 2,048 x 2,048 that is still 1.2 times as fast as tiles on a CPU; at 4,096 x 4,096 tiles are faster.
    """
    return len(a_MD) * len(b_KD) <= 2 * TILE_LOGITS


def tile_height(num_columns: int) -> int:
    """Rows of a tile."""
    return max(TILE_LOGITS // num_columns, 1)


def logit_tiles(a_MD: Tensor, b_KD: Tensor, scale: Tensor, rows_P: Tensor, columns_P: Tensor) -> Iterator[Tile]:
    """Make the logits ``scale * a_MD @ b_KD.T`` a tile at a time.

    Args:
        a_MD: Embeddings (M, D).
        b_KD: Embeddings (K, D).
        scale: Factor of the logits, a scalar.
        rows_P: Row of every positive pair, ascending.
        columns_P: Column of every positive pair.
    """
    num_rows, num_columns = len(a_MD), len(b_KD)
    height = min(tile_height(num_columns), num_rows)
    starts = range(0, num_rows, height)
    bounds = torch.searchsorted(rows_P, torch.tensor([*starts, num_rows], device=rows_P.device)).tolist()
    buffers = [a_MD.new_empty(height, num_columns) for _ in range(2)]
    for start, first, last in zip(starts, bounds[:-1], bounds[1:], strict=True):
        rows, positives = slice(start, min(start + height, num_rows)), slice(first, last)
        scaled_TD = a_MD[rows] * scale
        logits_TK, scratch_TK = (buffer[: len(scaled_TD)] for buffer in buffers)
        torch.mm(scaled_TD, b_KD.T, out=logits_TK)
        yield Tile(rows, positives, (rows_P[positives] - start, columns_P[positives]), scaled_TD, logits_TK, scratch_TK)


def without_autocast(device: torch.device) -> torch.autocast:
    """Context in which matrix products keep the precision of their arguments.

    Near 100, where logits of a trained model are, bfloat16 has steps of 0.5.
    """
    return torch.autocast(device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` itself, or a float32 copy if it is of half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
