import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.transforms import RandomWordDrop, RandomWordSwap, TrimText


TEXTS = st.text(alphabet="ab \n", max_size=20)
ALL = [
    pytest.param(TrimText(3), id="trim"),
    pytest.param(RandomWordDrop(), id="drop"),
    pytest.param(RandomWordSwap(), id="swap"),
]


@given(text=TEXTS, size=st.integers(0, 6))
def test_trimming_keeps_the_beginning(text: str, size: int) -> None:
    assert TrimText(size)(text) == text[:size]
    assert TrimText(size, unit="words")(text).split() == text.split()[:size]


@pytest.mark.parametrize("transform", ALL)
def test_a_list_gives_a_list(transform: TrimText) -> None:
    torch.manual_seed(0)
    assert len(transform(["one two", "", "three"])) == 3
    assert isinstance(transform("one two"), str)


@pytest.mark.parametrize("transform", ALL)
def test_what_is_not_a_string_is_named(transform: TrimText) -> None:
    name = type(transform).__name__
    with pytest.raises(TypeError, match=f"{name} takes a string or a list of strings, got NoneType"):
        transform(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"{name} takes strings, but text 1 of 2 is NoneType"):
        transform(["a", None])  # type: ignore[list-item]


@given(text=TEXTS, probability=st.floats(0, 1))
def test_dropping_keeps_the_order_and_at_least_one_word(text: str, probability: float) -> None:
    kept, words = RandomWordDrop(probability)(text).split(), text.split()
    remaining = iter(words)
    assert all(word in remaining for word in kept)  # a subsequence
    assert bool(kept) == bool(words)


def test_each_word_is_dropped_with_the_given_probability() -> None:
    torch.manual_seed(0)
    num_words, probability = 20_000, 0.3
    kept = len(RandomWordDrop(probability)("w " * num_words).split())
    standard_deviation = (num_words * probability * (1 - probability)) ** 0.5
    assert abs(kept - num_words * (1 - probability)) < 5 * standard_deviation


@given(text=TEXTS, num_swaps=st.integers(0, 4))
def test_swapping_keeps_the_words(text: str, num_swaps: int) -> None:
    assert sorted(RandomWordSwap(num_swaps)(text).split()) == sorted(text.split())


def test_one_swap_moves_exactly_two_words() -> None:
    words = [str(i) for i in range(9)]
    swapped = RandomWordSwap(1)(" ".join(words)).split()
    assert sum(a != b for a, b in zip(words, swapped, strict=True)) == 2


def test_the_seed_decides() -> None:
    text = "one two three four five six seven eight"
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(RandomWordSwap(3)(RandomWordDrop(0.5)(text)))
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: TrimText(-1), "cannot be negative, got -1", id="negative size"),
        pytest.param(lambda: TrimText(1, unit="tokens"), "Unknown unit 'tokens'", id="unit"),  # type: ignore[arg-type]
        pytest.param(lambda: RandomWordDrop(1.5), r"must be in \[0, 1\], got 1.5", id="probability"),
        pytest.param(lambda: RandomWordSwap(-1), "cannot be negative, got -1", id="negative swaps"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
