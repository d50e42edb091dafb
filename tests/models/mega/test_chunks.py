"""Self-attention within chunks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from mmkit.models.mega.attend import attend
from mmkit.models.mega.chunks import Chunks, self_attend
from tests.models.mega.naive_attention import naive_attend
from tests.models.mega.test_attend import ACTIVATIONS, BIASES, inputs, make_bias


@pytest.mark.parametrize("length", [1, 3, 4, 8, 10])
@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_chunk_attends_to_itself(activation: str, causal: bool, length: int) -> None:
    bias, (q, k, v) = make_bias("rotary"), inputs(2, length, length)
    y, _ = self_attend(q, k, v, bias, activation, causal=causal, chunk_size=4)
    for start in range(0, length, 4):
        part = [x[:, start : start + 4] for x in (q, k, v)]
        expected, _ = naive_attend(*part, bias.by_distance(-9, 9), activation, causal=causal)
        torch.testing.assert_close(y[:, start : start + 4], expected)


@pytest.mark.parametrize(("length", "shape"), [(3, (2, 1, 3, 3)), (8, (2, 2, 4, 4)), (10, (2, 3, 4, 4))])
def test_weights_are_given_chunk_by_chunk(length: int, shape: tuple[int, ...]) -> None:
    q, k, v = inputs(2, length, length)
    _, weights = self_attend(q, k, v, make_bias("simple"), "softmax", causal=False, chunk_size=4, return_weights=True)
    assert weights is not None
    assert weights.shape == shape


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=30)
@given(length=st.integers(1, 9), more=st.integers(0, 5))
def test_one_chunk_that_suffices_is_full_attention(activation: str, kind: str, causal: bool, length: int, more: int) -> None:
    bias, (q, k, v) = make_bias(kind), inputs(2, length, length)
    y, _ = self_attend(q, k, v, bias, activation, causal=causal, chunk_size=length + more)
    full, _ = self_attend(q, k, v, bias, activation, causal=causal)
    torch.testing.assert_close(y, full)
    torch.testing.assert_close(full, attend(q, k, v, bias, activation, causal=causal)[0])


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("kind", BIASES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=30)
@given(left=st.integers(0, 9), right=st.integers(0, 9), length=st.integers(1, 9), size=st.integers(1, 5))
def test_padding_changes_nothing(activation: str, kind: str, causal: bool, left: int, right: int, length: int, size: int) -> None:
    bias, (q, k, v) = make_bias(kind), inputs(2, length, length)
    alone, _ = self_attend(q, k, v, bias, activation, causal=causal, chunk_size=size)
    total = max(left, right) + length
    mask = torch.zeros(2, total, dtype=torch.bool)
    starts = (left, right)
    padded = [torch.stack([pad(x[i], (0, 0, n, total - n - length), value=9.0) for i, n in enumerate(starts)]) for x in (q, k, v)]
    for i, start in enumerate(starts):
        mask[i, start : start + length] = True
    together, _ = self_attend(*padded, bias, activation, causal=causal, chunk_size=size, mask_BL=mask)
    for i, start in enumerate(starts):
        torch.testing.assert_close(together[i, start : start + length], alone[i])


def test_chunks_may_begin_where_the_caller_says() -> None:
    bias, (q, k, v) = make_bias("rotary"), inputs(1, 7, 7)
    mask = torch.tensor([[False, False, True, True, True, True, True]])
    start = torch.tensor([1])
    y, _ = self_attend(q, k, v, bias, "softmax", causal=True, chunk_size=3, mask_BL=mask, start_B=start)
    first, _ = attend(q[:, 1:4], k[:, 1:4], v[:, 1:4], bias, "softmax", causal=True, mask_BS=mask[:, 1:4])
    torch.testing.assert_close(y[:, 1:4], first)


@pytest.mark.parametrize("activation", ["laplace", "relu2"])
def test_a_hole_where_a_later_chunk_begins_counts_as_a_position(activation: str) -> None:
    bias, (q, k, v) = make_bias("rotary"), inputs(1, 6, 6)
    mask = torch.tensor([[True, True, True, False, True, True]])
    y, _ = self_attend(q, k, v, bias, activation, causal=True, chunk_size=3, mask_BL=mask)
    counted, _ = attend(q[:, 3:], k[:, 3:], v[:, 3:], bias, activation, causal=True, mask_BS=mask[:, 3:], first_B=0)
    torch.testing.assert_close(y[:, 3:], counted)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_of_padding_alone_is_finite_and_so_are_its_gradients(activation: str) -> None:
    q, k, v = inputs(2, 6, 6)
    mask = torch.tensor([[True] * 2 + [False] * 4, [False] * 6])
    y, _ = self_attend(q, k, v, make_bias("rotary"), activation, causal=True, chunk_size=4, mask_BL=mask)
    y.sum().backward()
    assert all(x.isfinite().all() for x in (y, q.grad, k.grad, v.grad) if x is not None)


@settings(max_examples=30)
@given(length=st.integers(1, 12), size=st.integers(1, 5), start=st.integers(0, 4))
def test_joining_undoes_splitting(length: int, size: int, start: int) -> None:
    x = torch.randn(2, length, 3)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, : min(start, length - 1)] = False
    chunks = Chunks(length, min(size, length), mask)
    torch.testing.assert_close(chunks.join(chunks.split(x)), x)
