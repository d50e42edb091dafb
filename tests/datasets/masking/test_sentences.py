from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking import BARTDenoising
from mmkit.datasets.masking.sentences import permute_sentences
from mmkit.datasets.tokenizers import ByteTokenizer


END, SPECIAL = 9, 1


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sentences_of(tokens: list[int]) -> list[tuple[int, ...]]:
    """Sentences end behind the last of several ends in a row."""
    sentences, current = [], []
    for position, token in enumerate(tokens):
        current.append(token)
        if token == END and (position + 1 == len(tokens) or tokens[position + 1] != END):
            sentences.append(tuple(current))
            current = []
    return sentences + ([tuple(current)] if current else [])


def permuted(tokens: torch.Tensor, ratio: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    maskable = tokens != SPECIAL
    return permute_sentences(tokens, maskable, tokens == END, maskable, ratio, seeded(seed))


@given(st.lists(st.lists(st.sampled_from([3, 4, 5, END]), min_size=8, max_size=8), min_size=1, max_size=4), st.integers(0, 99))
def test_the_sentences_of_a_text_stay_the_same_as_a_multiset(rows: list[list[int]], seed: int) -> None:
    result, _ = permuted(torch.tensor(rows), 1.0, seed)
    for before, after in zip(rows, result.tolist(), strict=True):
        assert Counter(after) == Counter(before)
        sentences = sentences_of(before)
        # one without an end runs into the next, and one that begins with ends runs into the one before
        if all(sentence[-1] == END and sentence[0] != END for sentence in sentences):
            assert Counter(sentences_of(after)) == Counter(sentences)


@given(st.lists(st.sampled_from([SPECIAL, 3, 4, END]), min_size=1, max_size=12), st.floats(0, 1), st.integers(0, 99))
def test_special_tokens_keep_their_positions(row: list[int], ratio: float, seed: int) -> None:
    result, starts = permuted(torch.tensor([row]), ratio, seed)
    after = result[0].tolist()
    assert [token == SPECIAL for token in after] == [token == SPECIAL for token in row]
    assert Counter(after) == Counter(row)
    assert starts[0].tolist() == [token != SPECIAL for token in row]


def test_the_share_says_how_many_may_move_and_all_orders_are_equally_likely() -> None:
    row = [3, END, 4, END, 5, END]
    tokens = torch.tensor([row]).repeat(6000, 1)
    assert torch.equal(permuted(tokens, 0.0, 0)[0], tokens)
    firsts = permuted(tokens, 1.0, 0)[0][:, ::2]
    orders = Counter(map(tuple, firsts.tolist()))
    assert len(orders) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in orders.values()) < 20.5  # 5 degrees of freedom, 0.001
    two = permuted(tokens, 0.67, 0)[0][:, ::2]  # two of three: one at least stays
    assert ((two == torch.tensor([3, 4, 5])).sum(-1) >= 1).all()
    assert (two != torch.tensor([3, 4, 5])).any()


def test_sentences_are_those_of_the_tokenizer_and_labels_are_in_their_order() -> None:
    tokenizer = ByteTokenizer()
    texts = ["A cat sat. It was 3.14 m... Was it?! Yes"] * 50
    denoise = BARTDenoising(tokenizer, mask_ratio=0.0, permute_sentence_ratio=1.0)
    result = denoise(tokenizer(texts), seeded(0))
    expected = Counter(["A cat sat.", " It was 3.14 m...", " Was it?!", " Yes"])
    seen = set()
    for ids, target in zip(result["text"], result["text_target"], strict=True):
        text = tokenizer.decode(ids)
        seen.add(text)
        assert tokenizer.decode(target) == texts[0]
        for sentence in expected:
            assert sentence in text
        assert len(text) == len(texts[0])
    assert len(seen) > 10


def test_ends_can_be_given_without_a_tokenizer() -> None:
    ids = {"mask_token_id": 3, "pad_id": 0, "bos_id": 1, "eos_id": 2}
    denoise = BARTDenoising(mask_ratio=0.0, permute_sentence_ratio=1.0, sentence_end_ids=[END], **ids)
    batch = {"text": torch.tensor([[1, 10, END, 11, 12, END, 2]] * 20)}
    texts = {tuple(row) for row in denoise(batch, seeded(0))["text"].tolist()}
    assert texts == {(1, 10, END, 11, 12, END, 2), (1, 11, 12, END, 10, END, 2)}
    with pytest.raises(ValueError, match="needs `sentence_end_ids`, and no tokenizer is given"):
        BARTDenoising(permute_sentence_ratio=1.0, **ids)
