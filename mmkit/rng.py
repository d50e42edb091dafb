"""Randomness that a resumed run repeats exactly.

mmkit seeds Python's, NumPy's and torch's generators anew before every example that is loaded, before every batch is collated and
before every training step, from keys that name the place: seed of the run, epoch, position. So in ``__getitem__``, transforms,
collators, batch processors and ``training_step``, call ordinary random functions (``random.random()``, ``np.random.rand()``,
``torch.rand(3)``) or ask for a stream of your own::

    from mmkit.experiment import rng

    crop = torch.randint(8, (2,), generator=rng.generator("crop"))

Both are exact on resume, with any number of workers. What is not: a generator that an object makes in its constructor and draws
from ever after, because its state depends on what happened before; ask for ``rng.generator(...)`` where you draw instead.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class States(NamedTuple):
    """States of the global generators and the key that was seeded last."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]
    key: int


_last_key = 0  # as global as the generators that it seeded


def derived_key(*parts: int | str) -> int:
    """A 63-bit key that depends on all of ``parts``, the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1


def seed_all(key: int, devices: bool = True) -> None:
    """Seed Python's, NumPy's and torch's global generators.

    Args:
        key: A number from 0 to 2**63 - 1; see :func:`derived_key`.
        devices: Seed those of CUDA devices, too, if CUDA is in use.
    """
    global _last_key
    _last_key = key
    random.seed(key)
    np.random.seed(key & 0xFFFFFFFF)  # more bits take six times as long
    torch.default_generator.manual_seed(key)  # torch.manual_seed looks for all kinds of devices: 100 times as long
    if devices and torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(key)


def captured(devices: bool = True) -> States:
    """The present states of the global generators; see :func:`restore`."""
    cuda = torch.cuda.get_rng_state_all() if devices and torch.cuda.is_initialized() else []
    return States(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda, _last_key)


def restore(states: States) -> None:
    """Go back to states that :func:`captured` returned."""
    global _last_key
    random.setstate(states.python)
    np.random.set_state(states.numpy)
    torch.set_rng_state(states.torch)
    if states.cuda:
        torch.cuda.set_rng_state_all(states.cuda)
    _last_key = states.key


@contextmanager
def preserved(devices: bool = True) -> Iterator[None]:
    """Leave the global generators as they were, whatever is drawn or seeded inside.

    Args:
        devices: Also those of CUDA devices, if CUDA is in use.
    """
    states = captured(devices)
    try:
        yield
    finally:
        restore(states)


def generator(*purpose: int | str) -> torch.Generator:
    """A torch generator of your own: its stream depends on the current example, batch or step, and on ``purpose``.

    It neither disturbs the global generators nor depends on how much they have drawn. The same purpose at the same place starts
    the same stream again; give different ones to independent draws.

    Args:
        purpose: Names or numbers, e.g. ``"crop"``.

    Example:
        >>> with preserved():
        ...     seed_all(7)
        ...     first = torch.rand(1, generator=generator("crop"))
        ...     torch.equal(first, torch.rand(1, generator=generator("crop")))
        True
    """
    return torch.Generator().manual_seed(derived_key(_last_key, *purpose))


def numpy_generator(*purpose: int | str) -> np.random.Generator:
    """Like :func:`generator`, for NumPy."""
    return np.random.default_rng(derived_key(_last_key, *purpose))
