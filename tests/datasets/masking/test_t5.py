"""The source is put together again here by a loop of its own, not by what is tested."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking import T5SpanCorruption, restore_text
from mmkit.datasets.tokenizers import ByteTokenizer, TextTokenizer


PAD, BOS, EOS, SEP, FIRST, SIZE, NUM = 0, 1, 2, 4, 10, 60, 30
IDS = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS, "special_token_ids": [SEP], "vocab_size": SIZE, "num_sentinels": NUM}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(rows: list[list[int]], left: bool = False) -> dict[str, torch.Tensor]:
    width = max(len(row) for row in rows) + 2
    rows = [[BOS, *row, EOS] for row in rows]
    padding = [[PAD] * (width - len(row)) for row in rows]
    ids = torch.tensor([blank + row if left else row + blank for row, blank in zip(rows, padding, strict=True)])
    return {"text": ids, "text_attention_mask": (ids != PAD).long()}


def put_together(ids: list[int], target: list[int]) -> list[int]:
    """Replace the sentinels by what follows them in the target; both must have the same ones in ascending order."""
    spans: dict[int, list[int]] = {}
    sentinel = -1
    for token in target:
        if token >= SIZE:
            assert token == SIZE + len(spans)
            sentinel = token
            spans[sentinel] = []
        else:
            spans[sentinel].append(token)
    assert spans.pop(sentinel) == []  # the final one
    assert [token for token in ids if token >= SIZE] == list(spans)
    assert all(spans.values())
    return [token for given in ids for token in spans.get(given, [given])]


ROWS = st.lists(st.lists(st.integers(FIRST, SIZE - 1), max_size=40), min_size=1, max_size=4)


@given(ROWS, st.floats(0, 1), st.floats(1, 9), st.booleans(), st.integers(0, 999))
def test_input_and_target_give_back_the_source(rows: list[list[int]], ratio: float, mean: float, left: bool, seed: int) -> None:
    denoise = T5SpanCorruption(mask_ratio=ratio, mean_span_length=mean, **IDS)
    result = denoise(batch_of(rows, left), seeded(seed))
    for source, ids, mask, target in zip(rows, result["text"], result["text_attention_mask"], result["text_target"], strict=True):
        written = target[target != -100].tolist()
        given_ids = ids[mask.bool()].tolist()
        assert (ids[~mask.bool()] == PAD).all()
        assert written.pop() == EOS
        assert put_together(given_ids, written) == [BOS, *source, EOS]
        assert denoise.restore(given_ids, target.tolist()) == [BOS, *source, EOS]
        hidden = sum(token < SIZE for token in written)
        assert hidden == round(ratio * len(source))
        num_spans = sum(token >= SIZE for token in given_ids)
        if hidden:
            assert num_spans == min(max(round(hidden / mean), 1), len(source) - hidden + 1, hidden, NUM - 1)


@given(st.lists(st.sampled_from([SEP, 10, 11, 12]), max_size=20), st.floats(0, 1), st.integers(0, 99))
def test_special_tokens_within_a_text_stay_and_cut_spans(source: list[int], ratio: float, seed: int) -> None:
    result = T5SpanCorruption(mask_ratio=ratio, **IDS)(batch_of([source]), seeded(seed))
    written = [token for token in result["text_target"][0].tolist() if token != -100][:-1]
    assert SEP not in written
    assert put_together(result["text"][0].tolist(), written) == [BOS, *source, EOS]
    assert sum(token < SIZE for token in written) == round(ratio * sum(token != SEP for token in source))


def test_padding_is_told_by_its_id_without_a_mask_and_one_text_needs_no_batch() -> None:
    ids = torch.tensor([BOS, 10, 11, 12, 13, EOS, PAD, PAD])
    result = T5SpanCorruption(mask_ratio=0.5, **IDS)({"text": ids}, seeded(0))
    assert result["text"].ndim == result["text_target"].ndim == 1
    assert int(result["text_attention_mask"].sum()) == len(result["text"])
    assert put_together(result["text"].tolist(), result["text_target"].tolist()[:-1]) == ids[:6].tolist()


def test_without_the_final_sentinel_a_target_ends_with_its_last_span() -> None:
    result = T5SpanCorruption(mask_ratio=1.0, final_sentinel=False, **IDS)(batch_of([[20, 21, 22]]), seeded(0))
    assert result["text_target"].tolist() == [[SIZE, 20, 21, 22, EOS]]
    assert result["text"].tolist() == [[BOS, SIZE, EOS]]


def test_spans_begin_everywhere_equally_often() -> None:
    """One span of one token in a text of six: each is hidden equally often, the first and the last included."""
    result = T5SpanCorruption(mask_ratio=1 / 6, mean_span_length=1.0, **IDS)(batch_of([list(range(10, 16))] * 6000), seeded(0))
    hidden = Counter(result["text_target"][:, 1].tolist())
    assert set(hidden) == set(range(10, 16))
    assert sum((count - 1000) ** 2 / 1000 for count in hidden.values()) < 20.5  # 5 degrees of freedom, 0.001


def test_sentinels_stand_behind_the_vocabulary_or_at_its_top() -> None:
    tokenizer = ByteTokenizer()
    behind = T5SpanCorruption(tokenizer)
    assert behind.sentinel_ids == tuple(range(260, 360))
    assert behind.vocab_size == 360
    top = T5SpanCorruption(sentinels="top", **IDS)
    assert top.sentinel_ids == tuple(range(59, 29, -1))
    assert top.vocab_size == SIZE
    given = T5SpanCorruption(tokenizer, sentinel_ids=[300, 305])
    assert (given.sentinel_ids, given.vocab_size) == ((300, 305), 306)


def test_sentinels_of_the_tokenizer_itself_are_taken() -> None:
    class WithSentinels(ByteTokenizer):
        def pieces(self) -> list[str]:
            return [*super().pieces()[:250], *(f"<extra_id_{number}>" for number in range(9, -1, -1))]

    tokenizer: TextTokenizer = WithSentinels()
    assert T5SpanCorruption(tokenizer).sentinel_ids == tuple(range(259, 249, -1))
    assert T5SpanCorruption(tokenizer).vocab_size == 260
    assert T5SpanCorruption(tokenizer, sentinels="behind").sentinel_ids[0] == 260


def test_a_text_that_holds_a_sentinel_is_refused() -> None:
    with pytest.raises(ValueError, match="A text has the id 59, which is a sentinel"):
        T5SpanCorruption(sentinels="top", **IDS)(batch_of([[12, 59]]))


def test_more_spans_than_sentinels_are_refused() -> None:
    source = [10, SEP] * 10
    with pytest.raises(ValueError, match="A text has 10 spans, but 5 sentinels are enough for 4"):
        T5SpanCorruption(mask_ratio=1.0, **{**IDS, "num_sentinels": 5})(batch_of([source]))


def test_what_a_model_left_out_is_empty() -> None:
    assert restore_text([1, 60, 7, 61, 2], [60, 5, 2], [60, 61, 62]) == [1, 5, 2, 7, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"mask_ratio": 2}, r"mask_ratio must be in \[0, 1\], got 2", id="ratio"),
        pytest.param({"mean_span_length": 0}, "mean_span_length must be at least 1, got 0", id="mean"),
        pytest.param(
            {"sentinels": "below"}, "Unknown place of the sentinels 'below'. Choose one of: auto, behind, top", id="place"
        ),
        pytest.param({"num_sentinels": 1}, "num_sentinels must be at least 2", id="number"),
        pytest.param({"sentinels": "top", "vocab_size": 9}, "A vocabulary of 9 ids has no room for 30 sentinels", id="room"),
        pytest.param({"vocab_size": None}, "Give `vocab_size`, `sentinel_ids` or a `tokenizer`", id="size"),
        pytest.param({"sentinel_ids": [7, 7]}, r"at least two different ids, got \[7, 7\]", id="same"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        T5SpanCorruption(**{**IDS, **arguments})
