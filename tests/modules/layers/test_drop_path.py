import pytest
import torch

from mmkit.modules.layers import DropPath


def test_whole_examples_are_dropped_and_the_others_scaled() -> None:
    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(out.amin((1, 2)), out.amax((1, 2)))
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)


def test_evaluation_drops_nothing() -> None:
    x = torch.randn(5, 2)
    assert torch.equal(DropPath(0.9).eval()(x), x)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_the_rate_must_leave_something(rate: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        DropPath(rate)
