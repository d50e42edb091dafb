"""Metrics that collect rows over an epoch, in main memory."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric


def gather_on_cpu(x: Tensor, group: Any = None) -> list[Tensor]:
    """The tensors of all ranks, on the CPU, of any numbers of rows; ranks without rows are left out.

    Unlike torchmetrics' own gathering it works for tensors on the CPU with any backend.
    """
    tensors: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(tensors, x.cpu(), group=group)
    return [tensor for tensor in tensors if tensor.numel() > 0] or tensors[:1]


class CollectedRows(Metric):
    """Rows of tensors, batch by batch, in lists on the CPU; a base for metrics that need all of them at once.

    Args:
        *names: Names of the states.
        **kwargs: Options of ``torchmetrics.Metric``.

    Example:
        >>> rows = CollectedRows("x", "label")
        >>> rows.update(x=torch.zeros(2, 3), label=torch.tensor([0, 1]))
        >>> rows.update(x=torch.ones(1, 3), label=torch.tensor([2]))
        >>> rows.collect()["label"]
        tensor([0, 1, 2])
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, *names: str, **kwargs: Any) -> None:
        super().__init__(**{"compute_on_cpu": True, "dist_sync_fn": gather_on_cpu, **kwargs})
        self.names = names
        for name in names:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, **rows: Tensor) -> None:
        """Append rows to the states of these names; the tensors are detached."""
        for name in self.names:
            if len(rows[name]) > 0:
                getattr(self, name).append(rows[name].detach())

    def rows(self) -> dict[str, Tensor]:
        """All rows of this rank by name, or of all ranks inside ``sync_context``; of shape (0,) if there are none."""
        return {name: _joined(getattr(self, name)) for name in self.names}

    def collect(self) -> dict[str, Tensor]:
        """All rows of all ranks by name; of shape (0,) if there are none."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            return self.rows()

    def compute(self) -> Any:
        return self.rows()


def _joined(blocks: list[Tensor] | Tensor) -> Tensor:
    if isinstance(blocks, Tensor):  # the state after the ranks have been gathered
        return blocks
    return torch.cat(blocks) if blocks else torch.empty(0)
