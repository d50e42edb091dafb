import numpy as np
import torch

from mmkit.modules.layers import L2Norm


def test_vectors_get_unit_length_along_the_axis() -> None:
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    for dim in (-1, 1):
        expected = x.numpy() / np.linalg.norm(x.numpy(), axis=dim, keepdims=True)
        np.testing.assert_allclose(L2Norm(dim)(x), expected)


def test_a_zero_vector_stays_zero() -> None:
    assert torch.equal(L2Norm()(torch.zeros(1, 3)), torch.zeros(1, 3))
