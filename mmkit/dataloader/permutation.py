"""Random orders that are read at any position, without being made as a whole.

They are pure functions of a key, so that every rank, and a run that resumes, sees the same order. Values are those of
64-bit integers that wrap around.
"""

from random import Random

import torch
from torch import Tensor


_SMALL = 2**16  # up to here, making the whole order takes less than a millisecond
_ROUNDS = 4


# Shapes: K positions, in any order.
def permuted(positions_K: Tensor, size: int, key: int) -> Tensor:
    """Look up positions of a random permutation of ``range(size)``, in O(K) time and memory for large sizes.

    A large size is enciphered by a Feistel network, walking on until the result falls into the range (Black and Rogaway,
    "Ciphers with arbitrary finite domains", 2002).

    Args:
        positions_K: ``LongTensor`` (K,) of numbers in ``range(size)``.
        size: Number of permuted elements.
        key: Names the permutation; see :func:`mmkit.rng.derived_key`.

    Example:
        >>> permuted(torch.arange(5), size=5, key=3).sort().values
        tensor([0, 1, 2, 3, 4])
    """
    if size <= _SMALL:
        return torch.randperm(size, generator=torch.Generator().manual_seed(key))[positions_K]
    num_bits = (size - 1).bit_length()
    random = Random(key)
    round_keys = [random.getrandbits(63) for _ in range(2 * _ROUNDS)]
    result_K = _enciphered(positions_K, num_bits, round_keys)
    while (outside := (result_K >= size).nonzero().squeeze(1)).numel():  # under half of the rest each time
        result_K[outside] = _enciphered(result_K[outside], num_bits, round_keys)
    return result_K


def random_integers(positions_K: Tensor, size: int, key: int) -> Tensor:
    """Independent uniform numbers in ``range(size)``, one per position (K,), which stay the same for the same key."""
    return (_hashed(positions_K, key) & (2**63 - 1)) % size


def _enciphered(x_K: Tensor, num_bits: int, round_keys: list[int]) -> Tensor:
    low_bits = num_bits // 2
    low_mask, high_mask = 2**low_bits - 1, 2 ** (num_bits - low_bits) - 1
    high_K, low_K = x_K >> low_bits, x_K & low_mask
    for key_a, key_b in zip(round_keys[::2], round_keys[1::2], strict=True):
        high_K = high_K ^ (_hashed(low_K, key_a) & high_mask)
        low_K = low_K ^ (_hashed(high_K, key_b) & low_mask)
    return (high_K << low_bits) | low_K


def _hashed(x_K: Tensor, key: int) -> Tensor:
    """Mix well enough that any bits of the result look independent: the finaliser of splitmix64."""
    x_K = (x_K + 1) * -7046029254386353131 + key
    x_K = (x_K ^ _shifted(x_K, 30)) * -4658895280553007687
    x_K = (x_K ^ _shifted(x_K, 27)) * -7723592293110705685
    return x_K ^ _shifted(x_K, 31)


def _shifted(x_K: Tensor, count: int) -> Tensor:
    return (x_K >> count) & (2 ** (64 - count) - 1)  # `>>` alone would repeat the sign
