"""Numbers on the command line: what options take, and how amounts are told."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence


def at_least(minimum: int) -> Callable[[str], int]:
    """A ``type`` for argparse: a whole number that is not smaller than this."""

    def whole_number(text: str) -> int:
        if not text.strip().lstrip("+-").isdecimal() or (number := int(text)) < minimum:
            raise ArgumentTypeError(f"{text!r} is given; a whole number from {minimum} on is needed.")
        return number

    return whole_number


def count(number: int) -> str:
    """A number with three digits and a prefix.

    Example:
        >>> count(22_713_216), count(512)
        ('22.7 M', '512')
    """
    return str(number) if number < _ROUNDED_UP else _prefixed(number, 1000, ("", "k", "M", "G", "T", "P"))


def size(num_bytes: int | None, binary: bool = False) -> str:
    """Bytes with a unit; of memory, in powers of 1024.

    Example:
        >>> [size(7), size(28_115), size(999_900), size(481_000_000)]
        ['7 B', '28.1 kB', '1 MB', '481 MB']
        >>> [size(2_000, binary=True), size(327_155_712, binary=True)]
        ['1.95 KiB', '312 MiB']
    """
    if num_bytes is None:
        return ""
    if binary:
        return _prefixed(num_bytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    return _prefixed(num_bytes, 1000, ("B", "kB", "MB", "GB", "TB"))


_ROUNDED_UP = 999.5  # with three digits, that is 1000


def _prefixed(number: float, base: int, units: Sequence[str]) -> str:
    power = 0
    while number >= _ROUNDED_UP and power < len(units) - 1:
        number, power = number / base, power + 1
    return f"{number:.3g} {units[power]}"
