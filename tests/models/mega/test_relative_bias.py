"""Relative biases: values by distance, against a loop over positions."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.models.mega.relative_bias import (
    RelativeBias,
    RotaryRelativePositionalBias,
    SimpleRelativePositionalBias,
    relative_bias,
)


def config(kind: str = "rotary", **changes: object) -> SimpleNamespace:
    fields = {"max_positions": 12, "use_chunking": False, "chunk_size": -1, "initializer_range": 0.5}
    return SimpleNamespace(**fields | {"shared_representation_size": 6, "relative_positional_bias": kind} | changes)


def rotated(vector: list[float], position: int) -> list[float]:
    half = len(vector) // 2
    out = [0.0] * len(vector)
    for j in range(half):
        angle = position * math.exp(-j * math.log(10000) / half)
        out[j] = vector[j] * math.cos(angle) - vector[half + j] * math.sin(angle)
        out[half + j] = vector[half + j] * math.cos(angle) + vector[j] * math.sin(angle)
    return out


def naive(bias: RelativeBias, query: int, key: int) -> float:
    if isinstance(bias, SimpleRelativePositionalBias):
        return bias.rel_pos_bias[bias.size - 1 + key - query].item()
    turned = zip(rotated(bias.alpha[0].tolist(), query), rotated(bias.b_param[0].tolist(), key), strict=True)
    return sum(a * b for a, b in turned)


@pytest.mark.parametrize("kind", ["simple", "rotary"])
def test_the_bias_between_positions_is_that_of_a_loop(kind: str) -> None:
    bias = relative_bias(config(kind)).double()
    query, key = torch.tensor([0, 3, 7]), torch.arange(9)
    expected = [[naive(bias, m, n) for n in key.tolist()] for m in query.tolist()]
    torch.testing.assert_close(bias.between(query, key), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["simple", "rotary"])
@given(first=st.integers(-11, 11), length=st.integers(1, 12))
def test_the_bias_by_distance_is_the_bias_between(kind: str, first: int, length: int) -> None:
    bias = relative_bias(config(kind)).double()
    last = min(first + length - 1, 11)
    values = bias.by_distance(first, last)
    expected = bias.between(torch.tensor([20]), torch.arange(20 + first, 20 + last + 1))[0]
    torch.testing.assert_close(values, expected)


def test_the_rotary_bias_is_exact_at_far_positions_in_single_precision() -> None:
    bias = relative_bias(config(initializer_range=1.0))
    far = 1_000_000
    values = bias.by_distance(far, far + 200)
    expected = torch.tensor([naive(bias, 0, far + i) for i in range(201)])
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=0)


def test_the_rotary_bias_is_as_exact_in_a_half_precision_model() -> None:
    bias = relative_bias(config(initializer_range=1.0)).bfloat16()
    values = bias.by_distance(-3000, 3000)
    torch.testing.assert_close(values[5000].item(), naive(bias, 0, 2000), atol=1e-5, rtol=0)


def test_the_parts_that_fold_give_the_bias() -> None:
    bias = RotaryRelativePositionalBias(config())
    alpha, beta = bias.fold(torch.arange(2, 5), torch.arange(7))
    torch.testing.assert_close(alpha @ beta.T, bias.between(torch.arange(2, 5), torch.arange(7)))


@pytest.mark.parametrize("kind", ["simple", "rotary"])
def test_gradients_reach_the_parameters(kind: str) -> None:
    bias = relative_bias(config(kind)).double()
    parameters = dict(bias.named_parameters())

    def values(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(bias, dict(zip(parameters, tensors, strict=True)), ())

    bias.forward = lambda: bias.by_distance(-5, 8)
    assert torch.autograd.gradcheck(values, tuple(parameters.values()))


def test_a_chunked_simple_table_has_the_size_of_a_chunk() -> None:
    bias = SimpleRelativePositionalBias(config("simple", use_chunking=True, chunk_size=4))
    assert bias.rel_pos_bias.shape == (7,)
    assert SimpleRelativePositionalBias(config("simple", use_chunking=True, chunk_size=4), chunked=False).size == 12


def test_a_chunked_table_loads_its_distances_from_a_table_of_all_positions() -> None:
    full = SimpleRelativePositionalBias(config("simple"))
    chunked = SimpleRelativePositionalBias(config("simple", use_chunking=True, chunk_size=4))
    chunked.load_state_dict(full.state_dict())
    torch.testing.assert_close(chunked.by_distance(-3, 3), full.by_distance(-3, 3))


def test_a_rotary_bias_loads_what_the_port_stored() -> None:
    bias = RotaryRelativePositionalBias(config())
    stored = {name: torch.randn(value.shape) for name, value in bias.state_dict().items()}
    bias.load_state_dict({**stored, "_float_tensor": torch.zeros(1)})
    assert stored.keys() == bias.state_dict().keys()
    assert all(torch.equal(value, stored[name]) for name, value in bias.state_dict().items())


def test_distances_beyond_the_table_are_refused() -> None:
    with pytest.raises(ValueError, match="knows distances below 12; 12 was asked for"):
        relative_bias(config("simple")).by_distance(-12, 0)


def test_an_unknown_bias_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown relative_positional_bias 'alibi'\. Known: rotary, simple"):
        relative_bias(config("alibi"))
