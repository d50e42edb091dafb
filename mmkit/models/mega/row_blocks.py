"""How attention falls into blocks of rows, and what a block takes from the tensors of the whole.

Within a block the queries come in reverse order: the bias of each is then that of the one before, one place further, so that the
matrix of biases is a view into the values by distance (in order its stride would be negative, which tensors cannot have).
"""

# Shapes: B batch, T queries, S keys, Z shared representation, X features, D distances from 1 - T - offset to S - 1 - offset;
# b, t, s: those of one block.
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


ROWS = 128
SIZE = 2**18  # weights of a block; 1 MB in single precision fits in the second cache of a core


class Block(NamedTuple):
    """Rows of the batch, queries from the last one back, and keys from the first one."""

    batch: slice
    queries: slice
    num_keys: int

    def take(self, x_BTX: Tensor) -> Tensor:
        """What the queries of this block have in ``x_BTX``: (b, t, X)."""
        return x_BTX[self.batch, self._in_order(x_BTX.shape[1])].flip(1)

    def put(self, x_btX: Tensor, out_BTX: Tensor) -> None:
        """Write what ``take`` would read."""
        out_BTX[self.batch, self._in_order(out_BTX.shape[1])] = x_btX.flip(1)

    def keys(self, x_BSX: Tensor) -> Tensor:
        """What the keys of this block have in ``x_BSX``: (b, s, X)."""
        return x_BSX[self.batch, : self.num_keys]

    def values_of(self, values_D: Tensor) -> Tensor:
        """A view of the values by distance that occur in this block."""
        return values_D[self.queries.start : self.queries.stop + self.num_keys - 1]

    def _in_order(self, num_queries: int) -> slice:
        return slice(num_queries - self.queries.stop, num_queries - self.queries.start)


def blocks(batch: int, num_queries: int, num_keys: int, offset: int | None) -> Iterator[Block]:
    """Blocks that cover all rows.

    Args:
        batch: Rows of the batch.
        num_queries: Queries.
        num_keys: Keys.
        offset: Position of the first query if attention is causal: a block then has no keys after its last query.
    """
    rows = min(num_queries, ROWS)
    group = max(1, SIZE // (rows * num_keys))
    for first in range(0, batch, group):
        for start in range(0, num_queries, rows):
            seen = num_keys if offset is None else min(num_keys, num_queries - start + offset)
            yield Block(slice(first, min(first + group, batch)), slice(start, min(start + rows, num_queries)), seen)


def biased_scores(q_btZ: Tensor, k_bsZ: Tensor, values_d: Tensor) -> Tensor:
    """Products of reversed queries and keys, plus the bias of each distance; in the type of the bias."""
    bias_ts = values_d.unfold(0, k_bsZ.shape[1], 1)
    if q_btZ.dtype == bias_ts.dtype:
        return torch.baddbmm(bias_ts.unsqueeze(0), q_btZ, k_bsZ.transpose(1, 2))
    return (q_btZ @ k_bsZ.transpose(1, 2)).to(bias_ts.dtype).add_(bias_ts)


def sum_by_distance(x_bts: Tensor) -> Tensor:
    """Sums over the elements of reversed queries and keys that share a distance: the gradient of the bias (t + s - 1,)."""
    x_ts = x_bts.sum(0) if x_bts.shape[0] > 1 else x_bts[0]
    num_queries, num_keys = x_ts.shape
    width = num_queries + num_keys - 1
    # Reading rows of s + t in steps of s + t - 1 moves each row one place to the right.
    return F.pad(x_ts, (0, num_queries)).flatten()[: num_queries * width].view(num_queries, width).sum(0)


def hide_future_(scores_bts: Tensor, block: Block, num_queries: int, offset: int) -> None:
    """Set to -inf the scores of keys after their query: all of them are among the last columns."""
    last_t = num_queries - 1 + offset - torch.arange(block.queries.start, block.queries.stop, device=scores_bts.device)
    first_hidden = num_queries - block.queries.stop + offset + 1
    if first_hidden < block.num_keys:
        key_s = torch.arange(first_hidden, block.num_keys, device=scores_bts.device)
        scores_bts[:, :, first_hidden:].masked_fill_(key_s > last_t[:, None], -torch.inf)
