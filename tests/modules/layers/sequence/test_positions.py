import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.modules.layers.sequence.positions import LearnedPositions, alibi_bias, alibi_slopes, rotate, rotation, token_positions


CPU = torch.device("cpu")
WIDE = torch.zeros(0, dtype=torch.float64)


def turned(x_K: torch.Tensor, position: int) -> torch.Tensor:
    return rotate(x_K[None], *rotation(1, position, len(x_K), WIDE))[0]


@settings(max_examples=50)
@given(m=st.integers(0, 500), n=st.integers(0, 500), shift=st.integers(0, 500), seed=st.integers(0, 99))
def test_rotary_scores_depend_on_the_distance_alone(m: int, n: int, shift: int, seed: int) -> None:
    q, k = torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(turned(q, m) @ turned(k, n), turned(q, m + shift) @ turned(k, n + shift))
    torch.testing.assert_close(turned(q, m).norm(), q.norm())


def test_rotation_is_multiplication_by_a_complex_number() -> None:
    x_TK = torch.randn(5, 6, dtype=torch.float64)
    number = torch.complex(x_TK[:, :3], x_TK[:, 3:])
    for t in range(5):
        for i in range(3):
            number[t, i] *= complex(math.cos((t + 2) * 10000 ** (-i / 3)), math.sin((t + 2) * 10000 ** (-i / 3)))
    torch.testing.assert_close(rotate(x_TK, *rotation(5, 2, 6, WIDE)), torch.cat([number.real, number.imag], dim=1))


def test_rotation_of_half_precision_is_computed_in_single_precision() -> None:
    x = torch.randn(1, 8).bfloat16()
    angles = rotation(1, 1000, 8, x)
    assert angles[0].dtype == torch.float32
    assert torch.equal(rotate(x, *angles), rotate(x.float(), *angles).bfloat16())


def slopes_by_the_paper(num_heads: int) -> list[float]:
    """Section 3: a geometric sequence with start and ratio 2^(-8/n); footnote 7 of the code for other numbers of heads."""
    if math.log2(num_heads).is_integer():
        return [2 ** (-8 * (i + 1) / num_heads) for i in range(num_heads)]
    smaller = 2 ** int(math.log2(num_heads))
    return slopes_by_the_paper(smaller) + slopes_by_the_paper(2 * smaller)[0::2][: num_heads - smaller]


@pytest.mark.parametrize("num_heads", [1, 2, 3, 5, 6, 7, 8, 12, 16, 20, 31, 32])
def test_alibi_slopes_are_those_of_the_paper(num_heads: int) -> None:
    torch.testing.assert_close(alibi_slopes(num_heads), torch.tensor(slopes_by_the_paper(num_heads)))


def test_alibi_slopes_of_eight_heads_are_the_example_of_the_paper() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]


@pytest.mark.parametrize("num_past", [0, 3])
def test_alibi_bias_is_slope_times_distance(num_past: int) -> None:
    bias = alibi_bias(3, 4, num_past, CPU, torch.float32)
    assert bias.shape == (3, 4, num_past + 4)
    for head, slope in enumerate(slopes_by_the_paper(3)):
        for i in range(4):
            for j in range(num_past + 4):
                assert bias[head, i, j].item() == pytest.approx(-slope * abs(num_past + i - j))


@settings(max_examples=50)
@given(mask=st.lists(st.booleans(), min_size=1, max_size=8), data=st.data())
def test_positions_count_from_the_first_real_column(mask: list[bool], data: st.DataObject) -> None:
    num_past = data.draw(st.integers(0, len(mask) - 1))
    first = mask.index(True) if True in mask else len(mask)
    expected = [max(column - first, 0) for column in range(num_past, len(mask))]
    assert token_positions(len(mask) - num_past, num_past, CPU, torch.tensor([mask])).tolist() == [expected]


def test_learned_positions_are_added_from_the_first_real_column() -> None:
    positions, x = LearnedPositions(5, 2), torch.randn(2, 3, 2)
    mask = torch.tensor([[1, 1, 1], [0, 0, 1]])
    torch.testing.assert_close(positions(x), x + positions.weight[:3])
    torch.testing.assert_close(positions(x, mask), x + positions.weight[torch.tensor([[0, 1, 2], [0, 0, 0]])])


def test_learned_positions_go_on_after_those_in_the_cache() -> None:
    positions, x, mask = LearnedPositions(5, 2), torch.randn(2, 4, 2), torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    torch.testing.assert_close(positions(x[:, 3:], num_past=3), positions(x)[:, 3:])
    torch.testing.assert_close(positions(x[:, 3:], mask, num_past=3), positions(x, mask)[:, 3:])


def test_a_sequence_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="6 positions is longer than max_positions=5"):
        LearnedPositions(5, 2)(torch.zeros(1, 2, 2), num_past=4)
