"""Denoising one example at a time, in the ways that it is usually written; what benchmarks/text_data.py compares with.

All take the ids of one text, begin and end included, and return corrupted ids and target. They hide about the share that they
are asked for; mmkit's denoisers hide exactly it.
"""

import math
import random

import numpy as np
import torch
from torch import Tensor


MASK, BOS, EOS, FIRST_SENTINEL = 3, 1, 2, 260
MAX_NGRAM = 10


def candidates_in_loops(tokens: list[int], ratio: float, mean: float, is_start: list[bool]) -> tuple[list[int], list[int]]:
    """Span corruption as Megatron-LM goes about it, with loops over candidates.

    All n-grams of every word are listed and shuffled, then taken in turn unless they are covered or exceed the budget. Every span
    becomes one sentinel.
    """
    words: list[list[int]] = []
    for position, token in enumerate(tokens):
        if token in (BOS, EOS):
            continue
        if words and not is_start[position]:
            words[-1].append(position)
        else:
            words.append([position])
    budget = max(1, round(ratio * sum(map(len, words))))
    sizes = np.arange(1, MAX_NGRAM + 1)
    chances = np.array([math.exp(-mean) * mean**n / math.factorial(n) for n in sizes])
    grams = [[words[first : first + n] for n in sizes] for first in range(len(words))]
    random.shuffle(grams)
    covered: set[int] = set()
    spans: list[list[int]] = []
    for gram in grams:
        if len(covered) >= budget:
            break
        if any(position in covered for position in gram[0][0]):
            continue
        size = int(np.random.choice(sizes[: len(gram)], p=chances[: len(gram)] / chances[: len(gram)].sum()))
        span = [position for word in gram[size - 1] for position in word]
        while len(covered) + len(span) > budget and size > 1:
            size -= 1
            span = [position for word in gram[size - 1] for position in word]
        if len(covered) + len(span) > budget or any(position in covered for position in span):
            continue
        spans.append(span)
        covered.update(span)
    return _written(tokens, sorted(spans))


def _written(tokens: list[int], spans: list[list[int]]) -> tuple[list[int], list[int]]:
    begins = {span[0]: number for number, span in enumerate(spans)}
    covered = {position for span in spans for position in span}
    text, target = [], []
    for position, token in enumerate(tokens):
        if position in begins:
            text.append(FIRST_SENTINEL + begins[position])
            target.append(FIRST_SENTINEL + begins[position])
        (target if position in covered else text).append(token)
    return text, [*target, FIRST_SENTINEL + len(spans), EOS]


def spans_in_tensors(tokens_L: Tensor, ratio: float, mean: float, is_start_L: Tensor) -> tuple[Tensor, Tensor]:
    """Text infilling as fairseq goes about it for BART: tensors of one text, spans that grow by a word at a time."""
    is_start_L = is_start_L.long()
    is_start_L[0] = is_start_L[-1] = 0
    budget = num_masks = math.ceil(float(is_start_L.sum()) * ratio)
    chances = torch.tensor([math.exp(-mean) * mean**n / math.factorial(n) for n in range(128)])
    lengths = torch.distributions.Categorical(chances).sample((budget,))
    total = torch.cumsum(lengths, 0)
    while total[-1] < budget:
        lengths = torch.cat([lengths, torch.distributions.Categorical(chances).sample((budget,))])
        total = torch.cumsum(lengths, 0)
    last = int((total < budget).sum())
    lengths[last] = budget - (0 if last == 0 else int(total[last - 1]))
    num_masks = last + 1
    lengths = lengths[:num_masks]
    num_empty = int((lengths == 0).sum())
    lengths = lengths[lengths > 0]
    starts = is_start_L.nonzero()
    places = starts[torch.randperm(len(starts))[: len(lengths)]].squeeze(1)
    keep_L = torch.ones(len(tokens_L), dtype=torch.bool)
    text_L = tokens_L.clone()
    is_start_L[-1] = 255
    text_L[places] = MASK
    lengths = lengths - 1
    while len(places):
        lengths = lengths - is_start_L[places + 1]
        going = lengths >= 0
        places, lengths = places[going] + 1, lengths[going]
        keep_L[places] = False
    text_L = text_L[keep_L]
    room = torch.randperm(len(text_L) + num_empty - 2)[:num_empty] + 1
    result = torch.full((len(text_L) + num_empty,), -1)
    result[room] = MASK
    result[result == -1] = text_L
    return result, tokens_L[1:]


def lean_slices(tokens: list[int], ratio: float, mean: float) -> tuple[list[int], list[int]]:
    """Text infilling, exact and as lean as plain Python allows: the kept stretches are copied as slices. No words."""
    num = len(tokens) - 2
    left, lengths, threshold = round(ratio * num), [], math.exp(-mean)
    kept = num - left
    while left > 0:
        length, product = 0, random.random()
        while product > threshold:
            length, product = length + 1, product * random.random()
        lengths.append(min(length, left))
        left -= lengths[-1]
    text, position, copied = tokens[:1], 1, 0
    for gap, length in zip(sorted(random.sample(range(kept + 1), len(lengths))), lengths, strict=True):
        text += tokens[position : position + gap - copied]
        text.append(MASK)
        position += gap - copied + length
        copied = gap
    return text + tokens[position:], tokens[1:]
