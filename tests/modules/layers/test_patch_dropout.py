import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.modules.layers import PatchDropout


def tokens(batch: int, num: int) -> torch.Tensor:
    """Every token holds its own index."""
    return torch.arange(num, dtype=torch.float32)[None, :, None].expand(batch, num, 2)


@given(st.integers(1, 4), st.integers(1, 9), st.floats(0, 0.99), st.integers(0, 2))
def test_each_example_keeps_its_prefix_and_a_subset_of_its_patches_in_order(
    batch: int, num: int, rate: float, prefix: int
) -> None:
    kept = PatchDropout(rate, num_prefix_tokens=prefix)(tokens(batch, num + prefix))[..., 0]
    assert kept.shape == (batch, prefix + max(1, round(num * (1 - rate))))
    assert kept[:, :prefix].tolist() == [list(range(prefix))] * batch
    assert (kept.diff(dim=1) > 0).all()


def test_examples_keep_different_patches() -> None:
    torch.manual_seed(0)
    kept = PatchDropout(0.5)(tokens(8, 16))[..., 0]
    assert len(kept.unique(dim=0)) == 8


def test_evaluation_keeps_every_patch() -> None:
    x = torch.randn(2, 5, 3)
    dropout = PatchDropout(0.5).eval()
    assert torch.equal(dropout(x), x)
    assert dropout.kept(1, 4, x.device).tolist() == [[0, 1, 2, 3]]


def test_the_rate_must_leave_something() -> None:
    with pytest.raises(ValueError, match=r"rate=1.0 must lie in \[0, 1\)"):
        PatchDropout(1.0)
