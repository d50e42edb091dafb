import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.datasets.text.blending import Blend, Cycle, spread_evenly
from mmkit.errors import UsageError


def names(num):
    return [f"file {i}" for i in range(num)]


@settings(max_examples=60)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=9))
def test_every_prefix_holds_each_source_within_one_of_its_share(parts):
    total = sum(parts)
    sources = spread_evenly(parts, 2 * total)
    counts_NK = np.cumsum(np.eye(len(parts), dtype=int)[sources], axis=0)
    shares_NK = np.arange(1, 2 * total + 1)[:, None] * np.array(parts) / total
    assert np.abs(counts_NK - shares_NK).max() < 1
    assert counts_NK[-1].tolist() == [2 * part for part in parts]
    assert sources[:total].tolist() == sources[total:].tolist()


@settings(max_examples=60)
@given(st.data(), st.lists(st.decimals("0.1", "9.9", places=1), min_size=2, max_size=4))
def test_a_blend_goes_through_each_source_in_order_and_starts_anew(data, decimals):
    weights = [float(weight) for weight in decimals]
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=len(weights), max_size=len(weights)))
    blend = Blend(sizes, weights, None, names(len(weights)))
    seen = [[] for _ in weights]
    starts = np.cumsum([0, *sizes])
    for position in range(len(blend)):
        source = int(np.searchsorted(starts, blend[position], side="right")) - 1
        seen[source].append(blend[position] - starts[source])
    total = sum(Fraction(str(weight)) for weight in weights)
    for weight, size, samples in zip(weights, sizes, seen, strict=True):
        assert samples == [i % size for i in range(len(samples))]
        assert len(samples) >= size
        assert abs(len(samples) - len(blend) * Fraction(str(weight)) / total) < 1
    assert any(len(samples) <= size + 1 for size, samples in zip(sizes, seen, strict=True))  # no longer than need be


def test_two_equal_weights_alternate():
    assert [Blend([5, 5], [1, 1], None, names(2))[i] for i in range(6)] == [0, 5, 1, 6, 2, 7]


def test_sources_in_proportion_to_their_sizes_are_read_exactly_once():
    blend = Blend([30, 10, 20], [0.3, 0.1, 0.2], None, names(3))
    assert Counter(blend[i] for i in range(len(blend))) == Counter(range(60))


def test_weights_of_many_digits_make_no_long_table():
    weights = [0.123456789, 1 / 3, 2 / 7]
    blend = Blend([10, 10, 10], weights, 3000, names(3))
    assert len(pickle.dumps(blend)) < 50_000
    counts = Counter(blend[i] // 10 for i in range(3000))
    for source, weight in enumerate(weights):
        assert abs(counts[source] - 3000 * weight / sum(weights)) < 1.01


def test_a_source_that_would_give_no_sample_is_refused():
    says = r"file 1 has weight 1 of 1001: of 500 samples, that is 0.5. Raise its weight or num_samples, or leave it out."
    with pytest.raises(UsageError, match=says):
        Blend([10, 10], [1000, 1], 500, names(2))
    with pytest.raises(UsageError, match="file 1 has weight 1e-12 of 1: "):
        Blend([10, 10], [1, 1e-12], 10**6, names(2))


def test_one_source_alone_is_read_in_order():
    cycle = Cycle(3, 7)
    assert [cycle[i] for i in range(len(cycle))] == [0, 1, 2, 0, 1, 2, 0]
