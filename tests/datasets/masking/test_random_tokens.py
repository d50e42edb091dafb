import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking import IGNORED_LABEL, RandomMaskGenerator
from mmkit.datasets.tokenizers import ByteTokenizer


PAD, BOS, EOS, MASK, VOCAB_SIZE = 0, 1, 2, 3, 50
SPECIAL = (PAD, BOS, EOS, MASK)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generator_of_masks(**kwargs: float) -> RandomMaskGenerator:
    return RandomMaskGenerator(MASK, VOCAB_SIZE, SPECIAL, **kwargs)


def random_tokens(batch_size: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCAB_SIZE, (batch_size, length), generator=seeded(seed))


@given(seed=st.integers(0, 99), probability=st.floats(0, 1), mask_ratio=st.floats(0, 0.5), random_ratio=st.floats(0, 0.5))
def test_what_is_not_selected_stays_and_has_no_label(
    seed: int, probability: float, mask_ratio: float, random_ratio: float
) -> None:
    tokens = random_tokens(3, 9, seed)
    padding = torch.arange(9) < torch.tensor([[9], [4], [0]])
    inputs = {"text": tokens, "text_attention_mask": padding.long()}
    mask = generator_of_masks(probability=probability, mask_ratio=mask_ratio, random_ratio=random_ratio)
    result = mask(inputs, generator=seeded(seed))
    shown, labels, selected = result["text"], result["text_target"], result["text_mask"]
    assert torch.equal(shown[~selected], tokens[~selected])
    assert torch.equal(labels[selected], tokens[selected])
    assert (labels[~selected] == IGNORED_LABEL).all()
    assert padding[selected].all()
    assert not torch.isin(tokens[selected], torch.tensor(SPECIAL)).any()
    assert not torch.isin(shown[selected], torch.tensor([PAD, BOS, EOS])).any()
    assert torch.equal(inputs["text"], random_tokens(3, 9, seed))  # the input itself is not changed


def test_shares_are_those_of_the_paper() -> None:
    """Of 15 % selected tokens 80 % are masked, 10 % random, 10 % unchanged; within five standard deviations."""
    tokens = torch.full((400, 500), 7)
    result = generator_of_masks()({"text": tokens}, generator=seeded(0))
    selected, shown = result["text_mask"], result["text"]
    ordinary = VOCAB_SIZE - len(SPECIAL)
    expected = {
        "selected": (selected, tokens.numel(), 0.15),
        "masked": (selected & (shown == MASK), int(selected.sum()), 0.8),
        # a random token is the original one in one of `ordinary` cases
        "random": (selected & (shown != MASK) & (shown != 7), int(selected.sum()), 0.1 * (1 - 1 / ordinary)),
        "unchanged": (selected & (shown == 7), int(selected.sum()), 0.1 + 0.1 / ordinary),
    }
    for name, (found, total, share) in expected.items():
        assert abs(int(found.sum()) - total * share) < 5 * (total * share * (1 - share)) ** 0.5, name


def test_random_replacements_are_uniform_over_all_ordinary_ids() -> None:
    mask = generator_of_masks(probability=1.0, mask_ratio=0.0, random_ratio=1.0)
    shown = mask({"text": torch.full((100, 460), 7)}, generator=seeded(0))["text"]
    counts = torch.bincount(shown.flatten(), minlength=VOCAB_SIZE)
    assert counts[list(SPECIAL)].sum() == 0
    ordinary = torch.tensor([i for i in range(VOCAB_SIZE) if i not in SPECIAL])
    # chi-square with 45 degrees of freedom: mean 45, standard deviation 9.5
    assert float(((counts[ordinary] - 1000) ** 2 / 1000).sum()) < 45 + 5 * 9.5


def test_the_generator_decides_and_without_one_torch_does() -> None:
    tokens, mask = {"text": random_tokens(4, 50)}, generator_of_masks(probability=0.5)
    assert torch.equal(mask(tokens, generator=seeded(1))["text"], mask(tokens, generator=seeded(1))["text"])
    assert not torch.equal(mask(tokens, generator=seeded(1))["text"], mask(tokens, generator=seeded(2))["text"])
    torch.manual_seed(1)
    first = mask(tokens)["text"]
    torch.manual_seed(1)
    assert torch.equal(first, mask(tokens)["text"])


def test_one_text_without_batch_dimension_is_masked_too() -> None:
    tokenizer = ByteTokenizer(modality="audio")
    mask = RandomMaskGenerator.for_tokenizer(tokenizer, probability=1.0, mask_ratio=1.0, random_ratio=0.0)
    result = mask(tokenizer("ab"))
    assert result["audio"].tolist() == [tokenizer.bos_id, tokenizer.mask_id, tokenizer.mask_id, tokenizer.eos_id]
    assert result["audio_target"].tolist() == [-100, 101, 102, -100]
    assert result["audio_attention_mask"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"probability": 15}, r"probability must be in \[0, 1\], got 15", id="probability"),
        pytest.param({"mask_ratio": 0.9, "random_ratio": 0.2}, r"must not exceed 1, got 0\.9 \+ 0\.2", id="shares"),
        pytest.param({"mask_token_id": None}, "There is no mask token", id="no mask token"),
        pytest.param({"vocab_size": 4}, "All 4 ids are special", id="nothing ordinary"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomMaskGenerator(**{"mask_token_id": MASK, "vocab_size": VOCAB_SIZE, "special_token_ids": SPECIAL} | arguments)
