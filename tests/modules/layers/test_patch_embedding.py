import pytest
import torch

from mmkit.modules.layers import PatchEmbedding
from mmkit.modules.layers.patch_embedding import height_and_width, resize_position_embedding


def test_patches_are_projected_row_by_row() -> None:
    embed = PatchEmbedding(5, patch_size=[2, 3]).double()
    image = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    expected = [
        torch.einsum("bchw,dchw->bd", image[:, :, y : y + 2, x : x + 3], embed.proj.weight) + embed.proj.bias
        for y in (0, 2)
        for x in (0, 3)
    ]
    assert torch.allclose(embed(image), torch.stack(expected, dim=1))


def test_a_patch_cut_off_at_the_border_is_filled_with_zeros() -> None:
    embed, image = PatchEmbedding(5, patch_size=4), torch.randn(1, 3, 6, 9)
    padded = torch.zeros(1, 3, 8, 12)
    padded[:, :, :6, :9] = image
    assert embed.grid(6, 9) == (2, 3)
    assert torch.equal(embed(image), embed(padded))


@pytest.mark.parametrize("size", [0, [4], [4, 0], [1, 2, 3]])
def test_a_wrong_size_is_named(size: int | list[int]) -> None:
    with pytest.raises(ValueError, match=r"A size is a positive number or \[height, width\], got"):
        height_and_width(size)


def test_positions_of_the_same_grid_stay() -> None:
    x = torch.randn(1, 6, 4)
    assert resize_position_embedding(x, (2, 3), (2, 3)) is x


def test_resizing_keeps_rows_and_columns_apart() -> None:
    rows = torch.arange(4.0).repeat_interleave(4)  # the embedding of a patch is its row
    resized = resize_position_embedding(rows.reshape(1, 16, 1), (4, 4), (8, 2)).reshape(8, 2)
    assert torch.allclose(resized[:, 0], resized[:, 1])
    assert (resized[:, 0].diff() > 0).all()
