"""One of two processes that collect rows together; started by test_collected_rows.py."""

import sys


import mmkit  # noqa: F401  # isort: skip
import torch
import torch.distributed as dist

from mmkit.modules.metrics import RetrievalRecallAtK
from mmkit.modules.metrics.collected_rows import CollectedRows


def main(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    uneven, one_sided, recall = CollectedRows("x"), CollectedRows("x"), RetrievalRecallAtK(1)
    uneven.update(x=torch.tensor([[0, 0], [0, 1]]) if rank == 0 else torch.tensor([[1, 0]]))
    if rank == 1:
        one_sided.update(x=torch.tensor([1, 1]))
    ids = torch.tensor([[0, 0], [0, 1]])
    query, target = (torch.eye(2), torch.zeros(0, 2)) if rank == 0 else (torch.zeros(0, 2), torch.eye(2))
    recall.update(query, target, ids[: len(query)], ids[: len(target)])  # rank 0 has the queries, rank 1 the targets
    result = {"uneven": uneven.collect()["x"], "one_sided": one_sided.collect()["x"], "recall": recall.compute()}
    torch.save({**result, "own_again": len(uneven.rows()["x"])}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
