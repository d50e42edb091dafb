import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmkit.modules.losses import ContrastiveLoss


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What two processes with 3 and 2 rows, of which the second has no text, computed together; and their batch."""
    folder = tmp_path_factory.mktemp("ranks")
    generator = torch.Generator().manual_seed(0)
    embeddings = {
        "rgb_embedding": torch.randn(5, 4, generator=generator),
        "text_embedding": torch.randn(3, 4, generator=generator),
    }
    ids = {"rgb": torch.tensor([[0, n] for n in (0, 1, 2, 1, 4)]), "text": torch.tensor([[0, n] for n in (2, 1, 0)])}
    torch.save({"embeddings": embeddings, "ids": ids}, folder / "batch.pt")
    script = Path(__file__).with_name("rank_of_two.py")
    ranks = [subprocess.Popen([sys.executable, str(script), str(rank), str(folder)]) for rank in range(2)]
    assert [rank.wait() for rank in ranks] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)], embeddings, ids


@pytest.fixture(scope="module")
def one_rank(two_ranks):
    _, embeddings, ids = two_ranks
    embeddings = {name: x.clone().requires_grad_() for name, x in embeddings.items()}
    scale, pairs = torch.tensor(2.0, requires_grad=True), [SimpleNamespace(modalities=("rgb", "text"), weight=1.0)]
    loss = ContrastiveLoss(modality_alignment=True)(embeddings, ids, scale, pairs)
    loss.backward()
    return {"loss": loss.detach(), "gradients": {name: x.grad for name, x in embeddings.items()}, "scale": scale.grad}


def test_loss_is_equal_on_one_rank_and_two(one_rank, two_ranks):
    for result in two_ranks[0]:
        torch.testing.assert_close(result["loss"], one_rank["loss"])


def test_mean_of_the_ranks_gradients_is_that_of_one_rank(one_rank, two_ranks):
    for name, gradient in one_rank["gradients"].items():
        parts = [result["gradients"][name] for result in two_ranks[0] if name in result["gradients"]]
        torch.testing.assert_close(torch.cat(parts) / 2, gradient)  # a row is on one rank; the other adds nothing to the mean
    torch.testing.assert_close(sum(result["scale"] for result in two_ranks[0]) / 2, one_rank["scale"])


def test_local_loss_of_several_ranks_is_refused(two_ranks):
    assert "local_loss is not supported with several ranks (2 here)" in two_ranks[0][0]["message"]
