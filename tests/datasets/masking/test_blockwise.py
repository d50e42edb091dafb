import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.datasets.masking import BlockwisePatchMaskGenerator


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40)
@given(
    height=st.integers(1, 9), width=st.integers(1, 9), share=st.floats(0, 1), least=st.integers(1, 90), seed=st.integers(0, 99)
)
def test_every_mask_hides_exactly_the_asked_number(height: int, width: int, share: float, least: int, seed: int) -> None:
    number = round(share * height * width)
    masks = BlockwisePatchMaskGenerator((height, width), number, min_num_patches=least)(3, generator=seeded(seed))
    assert masks.dtype == torch.bool
    assert masks.shape == (3, height * width)
    assert masks.sum(1).tolist() == [number] * 3


def test_masks_differ_within_a_batch_and_follow_the_generator() -> None:
    generate = BlockwisePatchMaskGenerator(14, 75)
    masks = generate(8, generator=seeded(0))
    assert len(masks.unique(dim=0)) == 8
    assert torch.equal(masks, generate(8, generator=seeded(0)))
    assert not torch.equal(masks, generate(8, generator=seeded(1)))


def test_patches_are_hidden_in_blocks_rather_than_one_by_one() -> None:
    """A hidden patch's right neighbour is hidden far more often than the 38 % of independent patches."""
    masks = BlockwisePatchMaskGenerator(14, 75)(50, generator=seeded(0)).view(50, 14, 14)
    pairs = masks[:, :, :-1] & masks[:, :, 1:]
    assert pairs.sum() / masks[:, :, :-1].sum() > 0.7


def test_blocks_keep_to_their_area_and_shape() -> None:
    generate = BlockwisePatchMaskGenerator(40, 60, min_num_patches=20, max_num_patches=30, min_aspect_ratio=0.5)
    generator = seeded(0)
    for _ in range(200):
        block = generate._block(60, generator)
        height, width = int(block.any(1).sum()), int(block.any(0).sum())
        assert int(block.sum()) == height * width  # a full rectangle
        # rounding height and width to whole patches moves the area by at most half a patch along each side
        assert 20 - (height + width) / 2 <= height * width <= 30 + (height + width) / 2
        assert 0.5 * (width - 0.5) - 0.5 <= height <= 2 * (width + 0.5) + 0.5


def test_every_patch_is_hidden_equally_often_where_the_border_does_not_matter() -> None:
    """With blocks of one patch the number of times that a patch is hidden is binomial: 400 draws of 8 / 16."""
    masks = BlockwisePatchMaskGenerator(4, 8, min_num_patches=1, max_num_patches=1)(400, generator=seeded(0))
    assert (masks.sum(0) - 200).abs().max() < 5 * (400 * 0.25) ** 0.5


def test_an_empty_batch_has_no_masks() -> None:
    assert BlockwisePatchMaskGenerator(4, 8)(0).shape == (0, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"num_masking_patches": 17}, "num_masking_patches=17 does not fit a grid of 4x4 patches", id="number"),
        pytest.param({"min_num_patches": 0}, "0 < min_num_patches <= max_num_patches, got 0 and 8", id="no area"),
        pytest.param({"max_num_patches": 2}, "0 < min_num_patches <= max_num_patches, got 16 and 2", id="area"),
        pytest.param({"max_aspect_ratio": 0.1}, r"0 < min_aspect_ratio <= max_aspect_ratio, got 0\.3 and 0\.1", id="shape"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BlockwisePatchMaskGenerator(**{"input_size": 4, "num_masking_patches": 8} | arguments)
