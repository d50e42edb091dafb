import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking.patches import block_mask, grid_size, patch_indices


@given(top=st.integers(0, 4), left=st.integers(0, 4), height=st.integers(0, 5), width=st.integers(0, 5))
def test_a_block_is_a_slice(top: int, left: int, height: int, width: int) -> None:
    expected = torch.zeros(5, 6, dtype=torch.bool)
    expected[top : top + height, left : left + width] = True
    assert torch.equal(block_mask(torch.tensor(top), torch.tensor(left), (height, width), (5, 6)), expected)


def test_blocks_of_several_places_are_stacked() -> None:
    top, left = torch.tensor([[0, 1]]), torch.tensor([[2, 0]])
    masks = block_mask(top, left, (1, 2), (2, 4))
    assert masks.shape == (1, 2, 2, 4)
    assert torch.equal(masks[0, 1], block_mask(top[0, 1], left[0, 1], (1, 2), (2, 4)))


def test_indices_are_those_of_the_true_entries() -> None:
    mask = torch.tensor([[[True, False, True], [False, True, True]]])
    assert patch_indices(mask).tolist() == [[[0, 2], [1, 2]]]
    assert patch_indices(torch.zeros(2, 3, dtype=torch.bool)).shape == (2, 0)


def test_rows_with_different_numbers_have_no_indices() -> None:
    with pytest.raises(ValueError, match="hold from 1 to 2 patches"):
        patch_indices(torch.tensor([[True, False], [True, True]]))


def test_a_grid_needs_a_patch() -> None:
    assert grid_size(3) == (3, 3)
    assert grid_size((2, 3)) == (2, 3)
    with pytest.raises(ValueError, match="at least one row and one column, got 0x3"):
        grid_size((0, 3))
