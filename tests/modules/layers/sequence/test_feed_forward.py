import math

import pytest
import torch
from torch import Tensor

from mmkit.modules.layers.sequence import FeedForward, make_norm


DIM, INNER = 4, 6


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


@pytest.mark.parametrize("normalization", [None, "layernorm", "rmsnorm"])
@pytest.mark.parametrize("activation", ["gelu", "geglu", "swiglu"])
def test_it_is_its_formula(activation: str, normalization: str | None) -> None:
    layer, x = FeedForward(DIM, INNER, activation, normalization).double(), torch.randn(2, 3, DIM, dtype=torch.float64)
    inner = x @ layer.input.weight.T + layer.input.bias
    if activation == "gelu":
        inner = gelu(inner)
    else:
        function = gelu if activation == "geglu" else silu
        inner = function(inner[..., :INNER]) * inner[..., INNER:]
    if normalization is not None:
        inner = make_norm(normalization, INNER).double()(inner)
    torch.testing.assert_close(layer(x), inner @ layer.output.weight.T + layer.output.bias)


@pytest.mark.parametrize("dim", [64, 100, 256, 768])
def test_gated_units_have_as_many_parameters_as_plain_ones(dim: int) -> None:
    plain, gated = (
        sum(parameter.numel() for parameter in FeedForward(dim, activation=name).parameters()) for name in ("gelu", "swiglu")
    )
    assert plain == 2 * 4 * dim**2 + 5 * dim
    assert gated == pytest.approx(plain, rel=8 / (8 / 3 * dim) + 0.01)  # the inner size is rounded up to a multiple of 8


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown activation 'relu6'\. Allowed: gelu, geglu, swiglu"):
        FeedForward(4, activation="relu6")
