"""The embeddings and ids of all ranks; with one rank, what is given."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mmkit.datasets.core import Modalities


def num_ranks() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


# Shapes: B rows of this rank, A rows of all ranks.
def gather_modalities(
    embeddings: Mapping[str, Tensor], example_ids: Mapping[str, Tensor], modalities: Sequence[str]
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Collect the embeddings and example ids of all ranks, in the order of the ranks.

    Ranks may have different numbers of rows, and may lack modalities that others have. Every rank then computes the same loss,
    and the gradient of a rank's own rows is multiplied by the number of ranks: the mean over ranks, which is what
    ``DistributedDataParallel`` takes, is the gradient that one process would have got from the whole batch.

    Args:
        embeddings: Embeddings (B, D) of this rank by ``<modality>_embedding``.
        example_ids: Ids (B, 2) of this rank by modality.
        modalities: The modalities to collect; the same on every rank.
    """
    if num_ranks() == 1:
        return embeddings, example_ids
    keys = {name: Modalities.get_modality(name).embedding for name in modalities}
    device = next(iter(example_ids.values())).device
    given = {name: embeddings[key] for name, key in keys.items() if key in embeddings}
    shapes = _gather_objects({name: (*x_BD.shape, x_BD.dtype) for name, x_BD in given.items()})
    all_embeddings, all_ids = {}, {}
    for name in sorted(set().union(*shapes)):
        size, dtype = next(of_rank[name][1:] for of_rank in shapes if name in of_rank)
        rows = [of_rank[name][0] if name in of_rank else 0 for of_rank in shapes]
        own_BD = given.get(name, torch.empty(0, size, dtype=dtype, device=device))
        all_embeddings[keys[name]] = _GatherRows.apply(own_BD, rows)
        own_B2 = example_ids[name] if name in given else torch.empty(0, 2, dtype=torch.long, device=device)
        all_ids[name] = _gather_rows(own_B2, rows)
    return all_embeddings, all_ids


def _gather_objects(value: Any) -> list[Any]:
    values = [None] * num_ranks()
    dist.all_gather_object(values, value)
    return values


def _gather_rows(own_BD: Tensor, rows: list[int]) -> Tensor:
    """Gather blocks of different heights; collectives want equal shapes, so all are padded to the highest."""
    padded = own_BD.new_zeros(max(rows), own_BD.size(1))
    padded[: len(own_BD)] = own_BD
    blocks = [torch.empty_like(padded) for _ in rows]
    dist.all_gather(blocks, padded)
    return torch.cat([block[:height] for block, height in zip(blocks, rows, strict=True)])


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own_BD: Tensor, rows: list[int]) -> Tensor:
        ctx.start, ctx.length, ctx.num_ranks = sum(rows[: dist.get_rank()]), len(own_BD), len(rows)
        return _gather_rows(own_BD.contiguous(), rows)

    @staticmethod
    def backward(ctx: Any, grad_AD: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad_AD[ctx.start : ctx.start + ctx.length] * ctx.num_ranks, None
