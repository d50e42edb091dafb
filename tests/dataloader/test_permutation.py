import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.dataloader.permutation import permuted, random_integers
from mmkit.rng import derived_key


LARGE = 2**16 + 1  # enciphered, not shuffled


@settings(max_examples=40)
@given(st.integers(1, 300) | st.integers(LARGE, LARGE + 5000), st.integers(0, 2**63 - 1))
def test_every_number_comes_once(size: int, key: int):
    assert permuted(torch.arange(size), size, key).sort().values.equal(torch.arange(size))


@pytest.mark.parametrize("size", [1, 1000, 2**16, LARGE, 2**17, 3_000_000_000_000])
def test_a_position_can_be_looked_up_alone(size: int):
    positions = torch.tensor([0, size // 2, size - 1])
    together = permuted(positions, size, 5)
    alone = [int(permuted(positions[i : i + 1], size, 5)) for i in range(3)]
    assert together.tolist() == alone
    assert ((together >= 0) & (together < size)).all()


@pytest.mark.parametrize("size", [1000, LARGE])
def test_the_key_decides(size: int):
    positions = torch.arange(size)
    assert permuted(positions, size, 1).equal(permuted(positions, size, 1))
    assert (permuted(positions, size, 1) == permuted(positions, size, 2)).float().mean() < 0.01


@pytest.mark.parametrize("key", range(5))
def test_a_large_permutation_looks_random(key: int):
    # Position and value, and neighbouring values, on a 10 by 10 grid: chi square with 81 degrees of freedom
    # exceeds 150 with a probability below 1e-5.
    size = 100_000
    values = permuted(torch.arange(size), size, derived_key(key))
    for first, second in ((torch.arange(size), values), (values[:-1], values[1:])):
        counts = torch.bincount(first * 10 // size * 10 + second * 10 // size, minlength=100).double()
        expected = len(first) / 100
        assert float(((counts - expected) ** 2 / expected).sum()) < 150


def test_parity_and_low_bits_are_as_random_as_the_rest():
    size = 100_000
    values = permuted(torch.arange(size), size, derived_key("bits"))
    agree = (values[:-1] % 2 == values[1:] % 2).double().mean()
    assert 0.49 < agree < 0.51  # standard deviation 0.0016


def test_random_integers_are_uniform_and_repeatable():
    positions = torch.arange(100_000)
    values = random_integers(positions, 10, key=3)
    assert values.equal(random_integers(positions, 10, key=3))
    counts = torch.bincount(values, minlength=10).double()
    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < 45  # 9 degrees of freedom: below 1e-6
