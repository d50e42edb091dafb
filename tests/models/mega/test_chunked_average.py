"""The operators of the average in chunks: registered as compilers need them, and right where chunks meet."""

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from mmkit.models.mega.chunked_average import chunked_average, chunked_average_backward, from_chunks, into_chunks
from mmkit.models.mega.convolution import circular_convolution, circular_convolution_backward
from mmkit.models.mega.toeplitz import diagonal_sums, toeplitz


# Shapes: B batch, L positions, D channels, A chunks of S positions, N averages over the past, M all averages, V = S + M.


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def of_chunks(length: int, num_past: int = 2, num_all: int = 3) -> tuple[Tensor, ...]:
    """x_BLD, ends_DSM, mix_DVS, decay_DM, state_DBN with chunks of 4."""
    return random(2, length, 3), random(3, 4, num_all), random(3, 4 + num_all, 4), random(3, num_all), random(3, 2, num_past)


def of_backward(length: int) -> tuple[Tensor, ...]:
    """What the backward operator is called with: gradients of the results, what it kept, and the matrices."""
    given = of_chunks(length)
    y_BLD, last_DBN, both_DBAV = chunked_average(*given)
    return random(*y_BLD.shape), random(*last_DBN.shape), both_DBAV, *given[1:4]


def with_gradients(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.clone().requires_grad_() for tensor in tensors)


def by_loop(x_BLD: Tensor, ends_DSM: Tensor, mix_DVS: Tensor, decay_DM: Tensor, state_DBN: Tensor) -> tuple[Tensor, Tensor]:
    """Chunk by chunk, from the left and from the right."""
    size, past, length = ends_DSM.shape[1], state_DBN.shape[-1], x_BLD.shape[1]
    padded_BLD = torch.nn.functional.pad(x_BLD, (0, 0, 0, -length % size))
    chunks = [chunk_BSD.permute(2, 0, 1) for chunk_BSD in padded_BLD.split(size, dim=1)]
    ends = [chunk_DBS @ ends_DSM for chunk_DBS in chunks]
    before, after = [state_DBN], [torch.zeros_like(ends[0][..., past:])]
    for end_DBM in ends[:-1]:
        before.append(decay_DM[:, None, :past] * before[-1] + end_DBM[..., :past])
    for end_DBM in ends[:0:-1]:
        after.insert(0, decay_DM[:, None, past:] * after[0] + end_DBM[..., past:])
    ys = [torch.cat(parts, dim=-1) @ mix_DVS for parts in zip(chunks, before, after, strict=True)]
    return torch.cat(ys, dim=-1).permute(1, 2, 0)[:, :length], before[-1]


@pytest.mark.parametrize("length", [3, 4, 5, 13, 16])
@pytest.mark.parametrize(("num_past", "num_all"), [(2, 2), (2, 4)], ids=["causal", "bidirectional"])
def test_chunks_and_their_gradients_are_those_of_a_loop(length: int, num_past: int, num_all: int) -> None:
    given = with_gradients(of_chunks(length, num_past, num_all))
    y_BLD, start_DBN, _ = chunked_average(*given)
    expected = by_loop(*given)
    torch.testing.assert_close((y_BLD, start_DBN), expected)
    dy_BLD, dstart_DBN = random(*y_BLD.shape), random(*start_DBN.shape)
    found = torch.autograd.grad([y_BLD, start_DBN], given, [dy_BLD, dstart_DBN], materialize_grads=True)
    torch.testing.assert_close(found, torch.autograd.grad(expected, given, [dy_BLD, dstart_DBN], materialize_grads=True))


@pytest.mark.parametrize("length", [1, 511, 513, 1100])
def test_chunks_hold_the_sequence_and_then_zeros(length: int) -> None:
    x_BLD, chunks_DBAS = random(2, length, 3), torch.full((3, 2, -(-length // 4), 4), torch.nan, dtype=torch.float64)
    into_chunks(x_BLD, chunks_DBAS)
    assert torch.equal(from_chunks(chunks_DBAS, length), x_BLD)
    assert not chunks_DBAS.flatten(2)[..., length:].any()


def test_diagonals_are_laid_out_and_summed_up() -> None:
    circle_Dn = random(2, 6)
    matrix_DSS = toeplitz(circle_Dn)
    sums_Dn = torch.zeros(2, 6, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            assert torch.equal(matrix_DSS[:, i, j], circle_Dn[:, (j - i) % 6])
            sums_Dn[:, (j - i) % 6] += matrix_DSS[:, i, j]
    torch.testing.assert_close(diagonal_sums(matrix_DSS), sums_Dn)


@pytest.mark.parametrize(
    ("operator", "given"),
    [
        (chunked_average, with_gradients(of_chunks(13))),
        (toeplitz, with_gradients((random(3, 8),))),
        (circular_convolution, with_gradients((random(2, 5, 3), random(3, 10)))),
        (chunked_average_backward, of_backward(13)),
        (diagonal_sums, (random(2, 3, 3),)),
        (circular_convolution_backward, (random(2, 5, 3), random(2, 5, 3), random(3, 10))),
    ],
    ids=lambda value: value._name if hasattr(value, "_name") else "",
)
def test_operators_are_registered_as_compilers_need_them(operator, given: tuple[Tensor, ...]) -> None:
    """Inputs stay as they are, shapes and strides are foreseen, gradients pass, lengths may vary."""
    opcheck(operator, given)
