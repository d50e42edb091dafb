"""One of two processes that compute the contrastive loss together; started by test_gather.py."""

import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist

from mmkit.modules.losses import ContrastiveLoss


def rows_of_rank(batch, rank):
    return {name: tensor[:3] if rank == 0 else tensor[3:] for name, tensor in batch.items()}


def main(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    batch = torch.load(f"{folder}/batch.pt")
    embeddings = {name: x.requires_grad_() for name, x in rows_of_rank(batch["embeddings"], rank).items() if len(x) > 0}
    ids = rows_of_rank(batch["ids"], rank)
    scale, pairs = torch.tensor(2.0, requires_grad=True), [SimpleNamespace(modalities=("rgb", "text"), weight=1.0)]
    loss = ContrastiveLoss(modality_alignment=True)(embeddings, ids, scale, pairs)
    loss.backward()
    try:
        ContrastiveLoss(local_loss=True)(embeddings, ids, scale, pairs)
    except NotImplementedError as error:
        message = str(error)
    gradients = {name: x.grad for name, x in embeddings.items()}
    torch.save({"loss": loss.detach(), "gradients": gradients, "scale": scale.grad, "message": message}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
