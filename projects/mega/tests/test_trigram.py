"""The trigram against counting in a dictionary."""

import math
from collections import Counter

import numpy as np
import pytest

from projects.mega.trigram import NgramCounts, jelinek_mercer, witten_bell


TRAIN, VAL, TEST = (np.frombuffer(text, np.uint8) for text in (b"abracadabra abracadabra", b"abra cad", b"cadabra bar\xff"))


def frequencies(text, position):
    """Relative frequencies of the byte at a position after no, one and two bytes, and how often each context was seen."""
    train, history, found = bytes(TRAIN), bytes(text[:1]) + bytes(text), []
    for order in (1, 2, 3):
        gram = history[position + 2 - order : position + 2]
        grams = Counter(train[i : i + order] for i in range(len(train) - order + 1))
        following = Counter({g: n for g, n in grams.items() if g[:-1] == gram[:-1]})
        found.append((following[gram] / max(1, following.total()), following.total(), len(following)))
    return found


def test_frequencies_are_those_of_a_dictionary():
    found = NgramCounts(TRAIN).frequencies(TEST)
    assert found.shape == (4, len(TEST) - 1)
    for position in range(1, len(TEST)):
        expected = [1 / 256, *(frequency for frequency, _, _ in frequencies(TEST, position))]
        assert found[:, position - 1].tolist() == pytest.approx(expected)


def test_witten_bell_is_the_published_recursion():
    bits = 0.0
    for position in range(1, len(TEST)):
        p = 1 / 256
        for frequency, seen, kinds in frequencies(TEST, position):
            p = (seen * frequency + kinds * p) / (seen + kinds) if seen else p
        bits -= math.log2(p)
    assert witten_bell(NgramCounts(TRAIN), TEST) == pytest.approx(bits / (len(TEST) - 1))


def test_weights_are_fitted_to_the_validation_bytes():
    counts = NgramCounts(TRAIN)
    one_step, many = (jelinek_mercer(counts, VAL, VAL, num_steps=steps) for steps in (1, 30))
    equal_weights = -np.log2(counts.frequencies(VAL).mean(0)).mean()
    assert many < one_step < equal_weights
    assert jelinek_mercer(counts, VAL, TEST) < 8  # that of the uniform distribution, although one byte was never seen
