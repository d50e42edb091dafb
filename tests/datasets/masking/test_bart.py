"""Texts are written with distinct tokens here, so that where a token of the output came from is known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking import BARTDenoising
from mmkit.datasets.tokenizers import ByteTokenizer


PAD, BOS, EOS, MASK, FIRST = 0, 1, 2, 3, 10
IDS = {"mask_token_id": MASK, "pad_id": PAD, "bos_id": BOS, "eos_id": EOS}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(lengths: list[int], left: bool = False) -> dict[str, torch.Tensor]:
    """Texts ``<bos> 10 11 12 ... <eos>`` of so many tokens between, padded."""
    width = max(lengths) + 2
    rows = [[BOS, *range(FIRST, FIRST + n), EOS] for n in lengths]
    padding = [[PAD] * (width - len(row)) for row in rows]
    rows = [blank + row if left else row + blank for row, blank in zip(rows, padding, strict=True)]
    ids = torch.tensor(rows)
    return {"text": ids, "text_attention_mask": (ids != PAD).long()}


def spans_of(row: list[int], num: int) -> list[int]:
    """How many tokens each mask of a row of :func:`batch_of` stands for; masks side by side count as one of all of them."""
    assert row[0] == BOS
    assert row[-1] == EOS
    lengths, last, masked = [], FIRST - 1, False
    for token in [*row[1:-1], FIRST + num]:
        if token == MASK:
            assert not masked, "two masks side by side"
            masked = True
            continue
        if masked:
            lengths.append(token - last - 1)
        else:
            assert token == last + 1, "a token is missing without a mask"
        last, masked = token, False
    return lengths


def rows_of(result: dict[str, torch.Tensor]) -> list[list[int]]:
    return [row[mask.bool()].tolist() for row, mask in zip(result["text"], result["text_attention_mask"], strict=True)]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.floats(0, 0.6), st.booleans(), st.integers(0, 999))
def test_the_budget_is_met_exactly_and_every_other_token_stays(lengths: list[int], ratio: float, left: bool, seed: int) -> None:
    result = BARTDenoising(mask_ratio=ratio, **IDS)(batch_of(lengths, left), seeded(seed))
    for row, num in zip(rows_of(result), lengths, strict=True):
        kept = [token for token in row if token >= FIRST]
        assert num - len(kept) == round(ratio * num)
        assert kept == sorted(kept)
        assert len(row) <= num + 2
        assert row[0] == BOS
        assert row[-1] == EOS


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.floats(0, 1), st.booleans(), st.integers(0, 99))
def test_labels_are_the_source(lengths: list[int], ratio: float, left: bool, seed: int) -> None:
    result = BARTDenoising(mask_ratio=ratio, **IDS)(batch_of(lengths, left), seeded(seed))
    for labels, num in zip(result["text_target"].tolist(), lengths, strict=True):
        assert labels == [*range(FIRST, FIRST + num), EOS] + [-100] * (max(lengths) - num)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 999))
def test_deleted_tokens_leave_no_mask_and_have_a_budget_of_their_own(
    lengths: list[int], mask_ratio: float, delete_ratio: float, seed: int
) -> None:
    result = BARTDenoising(mask_ratio=mask_ratio, delete_ratio=delete_ratio, **IDS)(batch_of(lengths), seeded(seed))
    masked = BARTDenoising(mask_ratio=mask_ratio, **IDS)(batch_of(lengths), seeded(seed))
    for row, with_all, num in zip(rows_of(result), rows_of(masked), lengths, strict=True):
        kept = [token for token in row if token >= FIRST]
        hidden = round(mask_ratio * num)
        assert kept == sorted(kept)
        assert num - len(kept) == hidden + min(round(delete_ratio * num), num - hidden)
        assert row.count(MASK) == with_all.count(MASK)


def test_padding_is_on_the_right_and_has_its_id() -> None:
    result = BARTDenoising(**IDS)(batch_of([20, 3, 0]), seeded(0))
    mask = result["text_attention_mask"]
    assert torch.equal(mask, mask.sort(-1, descending=True).values)
    assert (result["text"][mask == 0] == PAD).all()
    assert (result["text"][mask == 1] != PAD).all()
    assert mask.sum(-1).max() == mask.shape[-1]


def test_span_lengths_are_poisson() -> None:
    """Chi-square on what the output shows. One text of 60,000 tokens has 6,000 spans, of which the budget cuts one."""
    num, mean = 60_000, 3.0
    result = BARTDenoising(mask_ratio=0.3, mean_span_length=mean, **IDS)(batch_of([num]), seeded(0))
    lengths = torch.tensor(spans_of(rows_of(result)[0], num))
    assert int(lengths.sum()) == 18_000
    observed = torch.bincount(lengths.clamp(max=9), minlength=10).double()
    share = [math.exp(-mean) * mean**k / math.factorial(k) for k in range(9)]
    expected = torch.tensor([*share, 1 - sum(share)], dtype=torch.double) * len(lengths)
    # 9 degrees of freedom: 27.9 is exceeded with a probability of 0.001
    assert float(((observed - expected) ** 2 / expected).sum()) < 27.9


def test_one_text_without_batch_dimension_and_the_ids_of_a_tokenizer() -> None:
    tokenizer = ByteTokenizer(modality="audio")
    result = BARTDenoising(tokenizer, mask_ratio=1.0)(tokenizer("a cat"))
    assert set(result["audio"].tolist()) == {1, 2, 3}
    assert tokenizer.decode(result["audio"]) == ""
    assert tokenizer.decode(result["audio_target"]) == "a cat"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"mask_ratio": 30}, r"mask_ratio must be in \[0, 1\], got 30", id="ratio"),
        pytest.param({"mask_ratio": 0.6, "delete_ratio": 0.6}, r"must not exceed 1, got 0\.6 \+ 0\.6", id="both"),
        pytest.param({"mean_span_length": 0.5}, "mean_span_length must be at least 1, got 0.5", id="mean"),
        pytest.param({"mask_token_id": None}, "needs `mask_token_id`, and no tokenizer is given", id="no mask token"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BARTDenoising(**{**IDS, **arguments})
