"""Numbers that options of the command line take."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def at_least(minimum: int) -> Callable[[str], int]:
    """A ``type`` for argparse: a whole number that is not smaller than this."""

    def whole_number(text: str) -> int:
        if not text.strip().lstrip("+-").isdecimal() or (number := int(text)) < minimum:
            raise ArgumentTypeError(f"{text!r} is given; a whole number from {minimum} on is needed.")
        return number

    return whole_number
