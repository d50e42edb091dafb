import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking import UL2Denoising
from mmkit.datasets.masking.ul2 import UL2_DENOISERS
from mmkit.datasets.tokenizers import ByteTokenizer


BOS, EOS, SENTINEL, MODES = 1, 2, 260, {"R": 360, "S": 361, "X": 362}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(result: dict[str, torch.Tensor]) -> list[tuple[list[int], list[int]]]:
    masks, targets = result["text_attention_mask"].bool(), result["text_target"]
    return [
        (ids[mask].tolist(), target[target != -100].tolist())
        for ids, mask, target in zip(result["text"], masks, targets, strict=True)
    ]


@given(st.lists(st.text(alphabet="ab .", max_size=60), min_size=1, max_size=4), st.booleans(), st.integers(0, 999))
def test_input_and_target_give_back_the_source_and_the_mode_stands_behind_the_begin(
    texts: list[str], whole_words: bool, seed: int
) -> None:
    tokenizer = ByteTokenizer()
    denoise = UL2Denoising(tokenizer, whole_words=whole_words)
    for text, (ids, target) in zip(texts, rows_of(denoise(tokenizer(texts), seeded(seed))), strict=True):
        assert ids[0] == BOS
        assert ids[1] in MODES.values()
        assert denoise.restore([ids[0], *ids[2:]], target) == tokenizer(text)["text"].tolist()


def test_every_denoiser_hides_its_share_and_has_its_number_of_spans() -> None:
    tokenizer, num = ByteTokenizer(), 200
    source = tokenizer(["x" * num])
    for name, settings in UL2_DENOISERS.items():
        ids, target = rows_of(UL2Denoising(tokenizer, {name: settings})(source, seeded(0)))[0]
        hidden, mean = round(settings["mask_ratio"] * num), settings["mean_span_length"]
        assert ids[1] == 360  # the only mode
        assert sum(4 <= token < SENTINEL for token in target) == hidden
        assert sum(token >= SENTINEL for token in ids[2:]) == (1 if mean is None else max(round(hidden / mean), 1))


def test_the_sequential_denoiser_hides_the_end() -> None:
    tokenizer = ByteTokenizer()
    denoise = UL2Denoising(tokenizer, {"s": {"mode": "S", "mask_ratio": 0.25, "mean_span_length": None}}, mode_tokens=False)
    result = denoise(tokenizer(["abcdefgh", "abcd", ""]), seeded(0))
    text = [[token - 4 if 4 <= token < SENTINEL else token for token in ids] for ids, _ in rows_of(result)]
    assert text == [[BOS, *b"abcdef", SENTINEL, EOS], [BOS, *b"abc", SENTINEL, EOS], [BOS, EOS]]


def test_denoisers_are_drawn_by_their_weights() -> None:
    tokenizer = ByteTokenizer()
    denoisers = {
        "one": {"mode": "R", "mask_ratio": 0.0, "mean_span_length": 3.0, "weight": 1.0},
        "never": {"mode": "S", "mask_ratio": 0.0, "mean_span_length": 3.0, "weight": 0.0},
        "three": {"mode": "X", "mask_ratio": 0.0, "mean_span_length": 3.0, "weight": 3.0},
        "out": None,
    }
    result = UL2Denoising(tokenizer, denoisers)(tokenizer([""] * 4000), seeded(0))
    modes = result["text"][:, 1]
    assert not (modes == 361).any()
    assert abs(int((modes == 360).sum()) - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5


def test_a_model_needs_ids_for_sentinels_and_modes() -> None:
    assert UL2Denoising(ByteTokenizer()).vocab_size == 260 + 100 + 3
    assert UL2Denoising(ByteTokenizer()).mode_token_ids == MODES
    assert UL2Denoising(ByteTokenizer(), mode_tokens=False).vocab_size == 360
    given = UL2Denoising(ByteTokenizer(), mode_token_ids={"R": 5, "S": 6, "X": 7})
    assert given.vocab_size == 360


def test_without_a_begin_token_the_mode_comes_first() -> None:
    denoise = UL2Denoising(vocab_size=50, pad_id=0, eos_id=2, num_sentinels=5)
    result = denoise({"text": torch.tensor([[10, 11, 2]])}, seeded(0))
    assert int(result["text"][0, 0]) in denoise.mode_token_ids.values()
    empty = denoise({"text": torch.zeros(2, 0, dtype=torch.long)}, seeded(0))
    assert empty["text"].shape == (2, 1)


@pytest.mark.parametrize(
    ("denoisers", "message"),
    [
        pytest.param({"a": {"mode": "R"}}, "The denoiser 'a' has no `mask_ratio`. It takes: mode, mask_ratio", id="missing"),
        pytest.param({"a": {**UL2_DENOISERS["s"], "speed": 1}}, "The denoiser 'a' has `speed`", id="unknown"),
        pytest.param({"a": {**UL2_DENOISERS["s"], "mask_ratio": 3}}, "mask_ratio of the denoiser 'a' must be in", id="ratio"),
        pytest.param({"a": {**UL2_DENOISERS["r3"], "mean_span_length": 0}}, "must be at least 1, or null for the end", id="mean"),
        pytest.param({"a": {**UL2_DENOISERS["s"], "weight": -1}}, "The weight of the denoiser 'a' cannot be", id="weight"),
        pytest.param({"a": None}, "at least one denoiser with a positive weight", id="none"),
    ],
)
def test_a_mixture_that_cannot_work_is_refused(denoisers: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UL2Denoising(ByteTokenizer(), denoisers)


def test_a_mode_without_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mode_token_ids has no id for the mode 'S'\. It has: R"):
        UL2Denoising(ByteTokenizer(), mode_token_ids={"R": 400})
