"""Great circles against NumPy, and where there is none."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.tasks.latent_interpolation import slerp


def naive(a, b, t):
    theta = np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))
    return (np.sin((1 - t) * theta) * a + np.sin(t * theta) * b) / np.sin(theta)


def test_points_are_those_of_the_formula_for_every_position():
    a, b = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    path = slerp(a, b, 4)
    for p, t in enumerate(np.linspace(0, 1, 4)):
        for s in range(3):
            np.testing.assert_allclose(path[p, s], naive(a[s].numpy(), b[s].numpy(), t), rtol=1e-12)


@given(st.integers(0, 1000), st.integers(2, 7))
def test_ends_are_met_and_the_norm_stays_between_unit_vectors(seed, steps):
    a, b = torch.nn.functional.normalize(torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    path = slerp(a, b, steps)
    torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]))
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(steps, dtype=torch.float64))


@pytest.mark.parametrize("factor", [2.0, 1.0, -1.0, 0.0], ids=["parallel", "equal", "opposite", "zero"])
def test_where_no_circle_is_told_the_path_is_a_line(factor):
    a = torch.tensor([1.0, -2.0, 3.0])
    expected = torch.stack([(1 - t) * a + t * factor * a for t in (0, 0.25, 0.5, 0.75, 1)])
    torch.testing.assert_close(slerp(a, factor * a, 5), expected)


def test_nearly_parallel_vectors_lose_no_accuracy():
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for small in (1e-3, 1e-5, 1e-7, 1e-9):
        b = torch.tensor([np.cos(small), np.sin(small)], dtype=torch.float64)
        assert slerp(a, b, 3)[1].tolist() == pytest.approx([np.cos(small / 2), np.sin(small / 2)], rel=1e-9, abs=1e-22)


def test_ends_of_other_shapes_and_too_few_points_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        slerp(torch.ones(2), torch.ones(3), 3)
    with pytest.raises(ValueError, match="steps=1: a path has at least its two ends"):
        slerp(torch.ones(2), torch.ones(2), 1)
