import math
from collections import Counter
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.masking.spans import (
    budget_of,
    composed_lengths,
    place_spans,
    poisson_lengths,
    random_orders,
    random_subsets,
    sorted_rows,
)


# What a sum of squares over expectations exceeds with a probability of 0.001, by degrees of freedom.
CHI_SQUARE = {5: 20.5, 6: 22.5, 9: 27.9, 10: 29.6}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distance(observed: Counter, expected: dict) -> float:
    """Pearson's sum; nothing but the expected may occur."""
    assert set(observed) <= set(expected)
    return sum((observed[key] - share) ** 2 / share for key, share in expected.items())


@given(st.floats(0, 1), st.integers(0, 2000))
def test_a_budget_is_rounded_as_python_rounds(ratio: float, num: int) -> None:
    assert budget_of(ratio, torch.tensor([num])).tolist() == [round(ratio * num)]


@given(st.lists(st.integers(0, 30), max_size=4), st.floats(1, 8), st.integers(0, 99))
def test_poisson_lengths_add_up_to_the_budget(budgets: list[int], mean: float, seed: int) -> None:
    lengths, num = poisson_lengths(torch.tensor(budgets, dtype=torch.long), mean, seeded(seed))
    assert lengths.sum(-1).tolist() == budgets
    for row, count in zip(lengths.tolist(), num.tolist(), strict=True):
        assert set(row[count:]) <= {0}
    assert [count == 0 for count in num.tolist()] == [budget == 0 for budget in budgets]


def expected_lengths(budget: int, mean: float) -> list[float]:
    """How often each length occurs on average when draws are added until they meet the budget, the last one cut to fit."""
    chance = [math.exp(-mean) * mean**k / math.factorial(k) for k in range(budget + 1)]
    of_budget = [[0.0] * (budget + 1)]
    for left in range(1, budget + 1):
        counts = [0.0] * (budget + 1)
        counts[0] += chance[0]
        counts[left] += 1 - sum(chance[:left])
        for length in range(1, left):
            counts[length] += chance[length]
            counts = [a + chance[length] * b for a, b in zip(counts, of_budget[left - length], strict=True)]
        of_budget.append([count / (1 - chance[0]) for count in counts])
    return of_budget[budget]


def test_lengths_under_a_small_budget_are_poisson_but_for_the_cut() -> None:
    rows, budget, mean = 20_000, 6, 3.0
    lengths, num = poisson_lengths(torch.full((rows,), budget), mean, seeded(0))
    drawn = lengths[torch.arange(lengths.shape[-1]) < num.unsqueeze(-1)]
    observed = torch.bincount(drawn, minlength=budget + 1).double() / rows
    expected = torch.tensor(expected_lengths(budget, mean), dtype=torch.double)
    # a row has a handful of spans, so that the standard deviation of a mean count is below 2 / sqrt(rows)
    assert float((observed - expected).abs().max()) < 5 * 2 / rows**0.5


def test_the_cut_length_may_stand_anywhere() -> None:
    """With a budget of 4 and long draws there is one span of 4; with short ones the cut is as often first as last."""
    lengths, num = poisson_lengths(torch.full((20_000,), 4), 3.0, seeded(0))
    pairs = lengths[num == 2][:, :2].float()
    first, second = pairs.mean(0).tolist()
    assert abs(first - second) < 0.1


def test_all_ways_to_cut_a_budget_are_equally_likely() -> None:
    rows = 6000
    lengths = composed_lengths(torch.full((rows,), 5), torch.full((rows,), 3), seeded(0))
    ways = {(a, b, c): rows / 6 for a in range(1, 4) for b in range(1, 4) for c in range(1, 4) if a + b + c == 5}
    assert distance(Counter(map(tuple, lengths.tolist())), ways) < CHI_SQUARE[5]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=4), st.integers(0, 99))
def test_composed_lengths_are_at_least_one_and_add_up(rows: list[tuple[int, int]], seed: int) -> None:
    budgets = [budget for budget, _ in rows]
    counts = [min(budget, count) for budget, count in rows]
    lengths = composed_lengths(
        torch.tensor(budgets, dtype=torch.long), torch.tensor(counts, dtype=torch.long), seeded(seed)
    ).tolist()
    for row, budget, count in zip(lengths, budgets, counts, strict=True):
        assert sum(row) == budget
        assert min(row[:count], default=1) >= 1
        assert set(row[count:]) <= {0}


def test_all_places_without_neighbours_are_equally_likely() -> None:
    rows, lengths = 6000, (2, 1)
    spans = place_spans(torch.tensor([lengths]).repeat(rows, 1), torch.full((rows,), 2), torch.full((rows,), 6), seeded(0))
    starts = {(first, second): rows / 6 for first, second in combinations(range(6), 2) if first + 2 < second and second + 1 <= 6}
    assert len(starts) == 6
    assert distance(Counter(map(tuple, spans.start_BS.tolist())), starts) < CHI_SQUARE[5]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(0, 12), st.integers(0, 99))
def test_spans_lie_within_the_text_and_do_not_overlap(lengths: list[int], kept: int, seed: int) -> None:
    num_units = sum(lengths) + kept
    spans = place_spans(torch.tensor([lengths]), torch.tensor([len(lengths)]), torch.tensor([num_units]), seeded(seed))
    starts = spans.start_BS[0].tolist()
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    assert starts[0] >= 0
    assert ends[-1] <= num_units
    gaps = [start - end for start, end in zip(starts[1:], ends[:-1], strict=True)]
    assert all(gap >= (1 if len(lengths) <= kept + 1 else 0) for gap in gaps)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4), st.integers(0, 99))
def test_subsets_are_sorted_and_as_even_as_can_be(rows: list[tuple[int, int]], seed: int) -> None:
    chosen = [count if items else 0 for count, items in rows]
    items = [items for _, items in rows]
    subsets = random_subsets(torch.tensor(chosen, dtype=torch.long), torch.tensor(items, dtype=torch.long), seeded(seed))
    for row, count, num in zip(subsets.tolist(), chosen, items, strict=True):
        found = row[:count]
        assert found == sorted(found)
        assert all(0 <= item < num for item in found)
        assert all(item >= num for item in row[count:])
        if num:
            assert max(Counter(found).values(), default=0) <= -(-count // num)


def test_orders_are_equally_likely() -> None:
    orders = random_orders(torch.full((6000,), 3), seeded(0))
    expected = dict.fromkeys([(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)], 1000)
    assert distance(Counter(map(tuple, orders.tolist())), expected) < CHI_SQUARE[5]


def test_rows_are_sorted_as_torch_does() -> None:
    values = torch.randint(100, (3, 20), generator=seeded(0))
    assert torch.equal(sorted_rows(values), values.sort(-1).values)
    assert sorted_rows(values[:, :0]).shape == (3, 0)


@pytest.mark.parametrize("mean", [1.0, 3.0, 20.0])
def test_the_largest_budgets_are_met(mean: float) -> None:
    lengths, _ = poisson_lengths(torch.full((3,), 5000), mean, seeded(0))
    assert lengths.sum(-1).tolist() == [5000] * 3
    assert int(lengths.max()) < 20 * mean  # no draw had to make up for missing ones
