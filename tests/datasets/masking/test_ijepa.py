import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.datasets.masking import IJEPAMaskGenerator


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), batch_size=st.integers(1, 6), npred=st.integers(1, 4), rows=st.integers(8, 14))
def test_a_context_never_shares_a_patch_with_a_target(seed: int, batch_size: int, npred: int, rows: int) -> None:
    generate = IJEPAMaskGenerator((rows * 16, 224), npred=npred)
    context, targets = generate(batch_size, generator=seeded(seed))
    assert context.shape == (batch_size, rows * 14)
    assert targets.shape == (batch_size, npred, rows * 14)
    assert not (context[:, None] & targets).any()
    assert (context.sum(1) == context[0].sum()).all()
    assert int(context[0].sum()) >= 10


@given(seed=st.integers(0, 999))
def test_every_target_is_a_block_of_one_size_within_its_share(seed: int) -> None:
    targets = IJEPAMaskGenerator()(3, generator=seeded(seed)).targets.view(-1, 14, 14)
    heights, widths = targets.any(2).sum(1), targets.any(1).sum(1)
    assert torch.equal(heights * widths, targets.sum((1, 2)))  # full rectangles
    assert len(heights.unique()) == len(widths.unique()) == 1
    height, width = int(heights[0]), int(widths[0])
    # rounding to whole patches moves the area by at most half a patch along each side
    assert 0.15 * 196 - (height + width) / 2 <= height * width <= 0.2 * 196 + (height + width) / 2
    assert 0.75 * (width - 0.5) - 0.5 <= height <= 1.5 * (width + 0.5) + 0.5


def test_every_example_has_a_context_and_targets_of_its_own() -> None:
    context, targets = IJEPAMaskGenerator()(16, generator=seeded(0))
    assert len(context.unique(dim=0)) == 16
    assert len(targets.unique(dim=0)) == 16
    # nor do the targets of an example coincide: that would leave at most 16 different ones
    assert len(targets.flatten(0, 1).unique(dim=0)) > 30


def test_the_generator_decides() -> None:
    generate = IJEPAMaskGenerator()
    first, again, other = (generate(4, generator=seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.context, again.context)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.targets, other.targets)


def test_places_are_uniform() -> None:
    """A 2x2 target on a 4x4 grid has nine places; 1,800 targets fall on each of them about 200 times."""
    generate = IJEPAMaskGenerator(4, patch_size=1, min_keep=1, pred_mask_scale=(0.25, 0.25), aspect_ratio=(1.0, 1.0), npred=1)
    targets = generate(1800, generator=seeded(0)).targets.view(-1, 16)
    counts = targets.float().argmax(1).bincount(minlength=11)
    places = [row * 4 + column for row in range(3) for column in range(3)]
    assert counts.sum() == counts[places].sum() == 1800
    assert (counts[places] - 200).abs().max() < 5 * math.sqrt(1800 / 9 * 8 / 9)


def test_the_patches_that_a_context_gives_up_are_random() -> None:
    """The first and the last patch of the grid stay in the context equally often."""
    generate = IJEPAMaskGenerator(64, patch_size=8, min_keep=2, enc_mask_scale=(1.0, 1.0), pred_mask_scale=(0.1, 0.1), npred=2)
    context = generate(2000, generator=seeded(0)).context
    first, last = context[:, 0].float().mean(), context[:, -1].float().mean()
    assert abs(float(first - last)) < 5 * math.sqrt(2 * 0.25 / 2000)


def test_indices_are_those_of_the_masks() -> None:
    masks = IJEPAMaskGenerator()(3, generator=seeded(0))
    assert masks.target_indices.shape[:2] == (3, 4)
    for example in range(3):
        assert masks.context_indices[example].tolist() == masks.context[example].nonzero().flatten().tolist()
        assert masks.target_indices[example, 1].tolist() == masks.targets[example, 1].nonzero().flatten().tolist()


def test_overlap_is_kept_only_when_allowed() -> None:
    generate = IJEPAMaskGenerator(allow_overlap=True, enc_mask_scale=(1.0, 1.0))
    assert generate(4, generator=seeded(0)).context.all()


def test_an_empty_batch_has_no_masks() -> None:
    context, targets = IJEPAMaskGenerator()(0)
    assert context.shape == (0, 196)
    assert targets.shape == (0, 4, 196)
    assert IJEPAMaskGenerator()(0).target_indices.shape == (0, 4, 0)


def test_targets_that_leave_no_context_are_an_error_with_the_numbers() -> None:
    generate = IJEPAMaskGenerator(64, pred_mask_scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0))
    with pytest.raises(
        ValueError, match=r"4 targets of 4x4 leave fewer than min_keep=10 patches of a context of .*Lower `npred`"
    ):
        generate(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"patch_size": 15}, "patch_size=15 does not divide the image of 224x224 pixels", id="patch size"),
        pytest.param(
            {"enc_mask_scale": (0.9, 1.1)}, r"enc_mask_scale must be a range within \(0, 1\], got 0\.9 to 1\.1", id="scale"
        ),
        pytest.param(
            {"aspect_ratio": (2.0, 1.0)}, r"aspect_ratio must be a range of positive numbers, got 2\.0 to 1\.0", id="ratio"
        ),
        pytest.param({"npred": 0}, "npred and min_keep must be at least 1, got 0 and 10", id="targets"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IJEPAMaskGenerator(**arguments)
