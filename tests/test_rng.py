import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmkit import rng
from mmkit.experiment import rng as documented


def drawn() -> tuple:
    return random.random(), np.random.rand(), np.random.normal(), torch.rand(1).item()


def test_a_key_seeds_all_generators():
    with rng.preserved():
        rng.seed_all(5)
        first = drawn()
        rng.seed_all(6)
        other = drawn()
        rng.seed_all(5)
        assert drawn() == first
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_preserved_gives_the_states_back_even_after_an_error():
    rng.seed_all(1)
    np.random.normal()  # NumPy makes two at once and keeps the other
    states = rng.captured()
    expected = drawn(), rng.generator("x").initial_seed()
    rng.restore(states)
    with pytest.raises(KeyError), rng.preserved():  # noqa: PT012
        rng.seed_all(2)
        drawn()
        raise KeyError
    assert (drawn(), rng.generator("x").initial_seed()) == expected


def test_own_streams_depend_on_key_and_purpose_alone():
    with rng.preserved():
        rng.seed_all(3)
        first = torch.rand(2, generator=rng.generator("crop")), rng.numpy_generator("crop").random()
        drawn()
        assert torch.equal(first[0], torch.rand(2, generator=rng.generator("crop")))
        assert first[1] == rng.numpy_generator("crop").random()
        after = drawn()
        rng.seed_all(3)
        drawn()
        assert after == drawn()  # they disturb nobody
        assert rng.generator("crop", 1).initial_seed() != rng.generator("crop", 2).initial_seed()
        rng.seed_all(4)
        assert not torch.equal(first[0], torch.rand(2, generator=rng.generator("crop")))


def test_a_derived_key_depends_on_every_part_and_is_the_same_everywhere():
    keys = {rng.derived_key(seed, epoch, name) for seed in range(10) for epoch in range(10) for name in ("mix", "choice")}
    assert len(keys) == 200
    assert all(0 <= key < 2**63 for key in keys)
    assert rng.derived_key(0, 1, "mix") == 0x77BB25763518CEDA >> 1  # printf "(0, 1, 'mix')" | b2sum -l 64


def test_the_documented_place_offers_the_same():
    assert all(getattr(documented, name) is getattr(rng, name) for name in documented.__all__)


def test_importing_mmkit_does_not_import_torch():
    subprocess.run([sys.executable, "-c", "import mmkit, sys; assert 'torch' not in sys.modules"], check=True)
