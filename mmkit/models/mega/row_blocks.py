"""How attention falls into blocks of rows, and which part of every tensor belongs to a block."""

# Shapes: B batch, T queries, S keys, Z shared representation, X features, D distances from 1 - T - offset to S - 1 - offset;
# R rows of a block, W = D - R + 1; b, t, s: those of one block.
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


SIZE = 2**18  # weights of a block; 1 MB in single precision fits in the second cache of a core


@dataclass(frozen=True)
class Block:
    """Rows of the batch, queries, and keys from the first one on.

    Args:
        batch: Rows of the batch.
        queries: Queries.
        num_keys: Keys; none of those after them is seen from here.
        num_queries: Queries of all blocks.
    """

    batch: slice
    queries: slice
    num_keys: int
    num_queries: int

    def of_queries(self, x_BTX: Tensor) -> Tensor:
        """What the queries of this block have in ``x_BTX``: a view (b, t, X)."""
        return x_BTX[self.batch, self.queries]

    def of_keys(self, x_BSX: Tensor) -> Tensor:
        """What the keys of this block have in ``x_BSX``: a view (b, s, X)."""
        return x_BSX[self.batch, : self.num_keys]

    def of_strip(self, strip_RW: Tensor) -> Tensor:
        """The bias between the queries and keys of this block: a view (t, s) of what ``bias_strip`` gives."""
        rows = self.queries.stop - self.queries.start
        column = self.num_queries - self.queries.stop
        return strip_RW[strip_RW.shape[0] - rows :, column : column + self.num_keys]


def blocks(q_BTZ: Tensor, k_BSZ: Tensor, offset: int | None) -> Iterator[Block]:
    """Blocks that cover all rows.

    Args:
        q_BTZ: Queries.
        k_BSZ: Keys.
        offset: Position of the first query if attention is causal: a block then has no keys after its last query.
    """
    (batch, num_queries, _), num_keys = q_BTZ.shape, k_BSZ.shape[1]
    rows = rows_of_a_block(num_queries, num_keys)
    group = max(1, SIZE // (rows * num_keys))
    for first in range(0, batch, group):
        for start in range(0, num_queries, rows):
            stop = min(start + rows, num_queries)
            seen = num_keys if offset is None else min(num_keys, stop + offset)
            yield Block(slice(first, min(first + group, batch)), slice(start, stop), seen, num_queries)


def rows_of_a_block(num_queries: int, num_keys: int) -> int:
    """Queries of one block: as many as multiply well, fewer where the block would leave the cache."""
    return min(num_queries, 128 if num_keys <= 4096 else 64)


def bias_strip(values_D: Tensor, num_queries: int) -> Tensor:
    """The bias of a block's rows at all distances, each row one place behind the one before: (R, W).

    The matrix of biases of every block is a part of it, so that no more than this is ever stored.
    """
    rows = rows_of_a_block(num_queries, values_D.shape[0] + 1 - num_queries)
    return values_D.unfold(0, values_D.shape[0] - rows + 1, 1).flip(0)


def biased_scores(q_btZ: Tensor, k_bsZ: Tensor, bias_ts: Tensor) -> Tensor:
    """Products of queries and keys plus the bias (b, t, s), in the type of the bias."""
    if q_btZ.dtype == bias_ts.dtype:
        return torch.baddbmm(bias_ts.unsqueeze(0), q_btZ, k_bsZ.transpose(1, 2))
    return (q_btZ @ k_bsZ.transpose(1, 2)).to(bias_ts.dtype).add_(bias_ts)


def hide_future_(scores_bts: Tensor, block: Block, offset: int) -> None:
    """Set to -inf the scores of keys after their query: all of them are among the last columns."""
    seen_by_all = block.queries.start + offset + 1
    if seen_by_all < block.num_keys:
        query_t1 = torch.arange(block.queries.start + offset, block.queries.stop + offset, device=scores_bts.device)[:, None]
        key_s = torch.arange(seen_by_all, block.num_keys, device=scores_bts.device)
        scores_bts[:, :, seen_by_all:].masked_fill_(key_s > query_t1, -torch.inf)
