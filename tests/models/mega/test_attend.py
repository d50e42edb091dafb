"""Attention over one stretch of keys, against loops over positions."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkit.models.mega.attend import attend
from mmkit.models.mega.relative_bias import RelativeBias, relative_bias
from tests.models.mega.naive_attention import naive_attend


ACTIVATIONS = ["softmax", "laplace", "relu2"]
BIASES = ["simple", "rotary"]
RIGHT, LEFT, HOLES, EMPTY = [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]


def make_bias(kind: str, dim: int = 4) -> RelativeBias:
    fields = {"max_positions": 40, "use_chunking": False, "chunk_size": -1, "initializer_range": 1.0}
    return relative_bias(SimpleNamespace(**fields, shared_representation_size=dim, relative_positional_bias=kind)).double()


def inputs(batch: int, num_queries: int, num_keys: int) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (batch, num_queries, 4), (batch, num_keys, 4), (batch, num_keys, 3)
    q, k, v = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    return q, k, v


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("return_weights", [False, True], ids=["fast", "weights"])
def test_attention_is_that_of_a_loop(activation: str, kind: str, causal: bool, masked: bool, return_weights: bool) -> None:
    bias, (q, k, v) = make_bias(kind), inputs(4, 6, 6)
    mask = torch.tensor([RIGHT, LEFT, HOLES, EMPTY], dtype=torch.bool) if masked else None
    y, weights = attend(q, k, v, bias, activation, causal=causal, mask_BS=mask, return_weights=return_weights)
    expected_y, expected_weights = naive_attend(q, k, v, bias.by_distance(-20, 20), activation, causal=causal, mask=mask)
    torch.testing.assert_close(y, expected_y)
    if return_weights:
        torch.testing.assert_close(weights, expected_weights)
    else:
        assert weights is None


@pytest.mark.parametrize("offset", [None, 0, 2, 9, torch.tensor([0, 3])], ids=["end", "0", "2", "9", "each"])
@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(1, 5), (3, 5), (5, 3)], ids=["step", "steps", "long"])
def test_queries_stand_at_their_offset(
    activation: str, kind: str, causal: bool, offset: int | Tensor | None, sizes: tuple[int, int]
) -> None:
    bias, (q, k, v) = make_bias(kind), inputs(2, *sizes)
    y, _ = attend(q, k, v, bias, activation, causal=causal, offset=offset)
    rows = offset.tolist() if isinstance(offset, Tensor) else None if offset is None else [offset] * 2
    expected, _ = naive_attend(q, k, v, bias.by_distance(-30, 30), activation, causal=causal, offset=rows)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_right(activation: str, kind: str, causal: bool, masked: bool) -> None:
    torch.manual_seed(0)
    bias, tensors = make_bias(kind), inputs(4, 6, 6)
    mask = torch.tensor([RIGHT, LEFT, HOLES, EMPTY], dtype=torch.bool) if masked else None
    names = list(dict(bias.named_parameters()))

    def function(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        with torch.nn.utils.stateless._reparametrize_module(bias, dict(zip(names, parameters, strict=True))):
            return attend(q, k, v, bias, activation, causal=causal, mask_BS=mask)[0]

    assert torch.autograd.gradcheck(function, (*tensors, *bias.parameters()))


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=30)
@given(left=st.integers(0, 5), right=st.integers(0, 5), length=st.integers(1, 7))
def test_padding_changes_nothing(activation: str, kind: str, causal: bool, left: int, right: int, length: int) -> None:
    bias, (q, k, v) = make_bias(kind), inputs(2, length, length)
    alone, _ = attend(q, k, v, bias, activation, causal=causal)
    padded = [torch.nn.functional.pad(x, (0, 0, left, right), value=9.0) for x in (q, k, v)]
    mask = torch.zeros(2, left + length + right, dtype=torch.bool)
    mask[:, left : left + length] = True
    together, _ = attend(*padded, bias, activation, causal=causal, mask_BS=mask)
    torch.testing.assert_close(together[:, left : left + length], alone)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(300, 300), (300, 290), (140, 301)], ids=str)
def test_many_blocks_give_what_whole_weights_give(activation: str, causal: bool, masked: bool, sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    bias, tensors = make_bias("rotary"), inputs(9, *sizes)
    mask = torch.rand(9, sizes[1]) < 0.8 if masked else None
    offset = None if sizes[1] >= sizes[0] else 5
    results = []
    for return_weights in (False, True):
        y, _ = attend(*tensors, bias, activation, causal=causal, mask_BS=mask, offset=offset, return_weights=return_weights)
        results.append((y, *torch.autograd.grad(y.square().sum(), (*tensors, *bias.parameters()))))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dropout_in_blocks_has_the_right_mean_and_gradients(activation: str) -> None:
    torch.manual_seed(0)
    bias, (q, k, _) = make_bias("rotary"), inputs(1, 150, 150)
    identity = torch.eye(150, dtype=torch.float64)[None].requires_grad_()

    def dropped() -> Tensor:
        torch.manual_seed(1)
        return attend(q, k, identity, bias, activation, causal=False, dropout_p=0.25)[0]

    _, weights = attend(q, k, identity, bias, activation, causal=False, return_weights=True)
    assert weights is not None
    factor = (dropped() / weights)[weights > 1e-9].detach()
    assert factor.eq(0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(factor[factor != 0], torch.full_like(factor[factor != 0], 4 / 3), atol=1e-4, rtol=0)
    parameters = (q, k, identity, *bias.parameters())
    expected = torch.autograd.grad((weights * dropped().ne(0) * 4 / 3 @ identity).square().sum(), parameters)
    torch.testing.assert_close(torch.autograd.grad(dropped().square().sum(), parameters), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dropout_drops_weights_and_scales_the_others(activation: str) -> None:
    bias, (q, k, _) = make_bias("rotary"), inputs(1, 6, 6)
    identity = torch.eye(6, dtype=torch.float64).expand(1, 6, 6)
    torch.manual_seed(0)
    y, weights = attend(q, k, identity, bias, activation, causal=False, dropout_p=0.5, return_weights=True)
    assert weights is not None
    kept = y.ne(0)
    assert 0 < kept.sum() < 36
    torch.testing.assert_close(y[kept], 2 * weights[kept])
