import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmkit.modules.metrics.collected_rows import CollectedRows


def test_rows_come_back_in_order_and_detached():
    rows = CollectedRows("x")
    first = torch.ones(2, 3, requires_grad=True)
    for block in (first, torch.zeros(0, 3), torch.zeros(1, 3)):
        rows.update(x=block)
    collected = rows.collect()["x"]
    assert collected.tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert not collected.requires_grad


def test_no_rows_are_an_empty_tensor():
    assert CollectedRows("x").collect()["x"].shape == (0,)


@pytest.mark.slow
def test_rows_of_two_ranks_are_joined_even_if_one_has_none(tmp_path):
    script = Path(__file__).with_name("rank_of_two.py")
    ranks = [subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path)]) for rank in range(2)]
    assert [rank.wait() for rank in ranks] == [0, 0]
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt")
        assert result["uneven"].tolist() == [[0, 0], [0, 1], [1, 0]]
        assert result["one_sided"].tolist() == [1, 1]
        assert result["one_sided"].dtype == torch.long
        assert result["own_again"] == 2 - rank
        assert result["recall"] == 1
