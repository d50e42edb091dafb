"""Values of a configuration that a type alone does not check."""

import math
from typing import Any

from mmkit.hiddens.errors import ArgumentsError, HiddensError


def finite(name: str, value: Any, otherwise: str = "") -> Any:
    """A number that a configuration gives.

    Raises:
        ArgumentsError: It is none, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArgumentsError(f"{name}={value!r}: it is a finite number{otherwise}.")
    return value


def whole(name: str, value: Any, at_least: int = 1) -> int:
    """An integer that a configuration gives.

    Raises:
        HiddensError: It is none, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise HiddensError(f"{name}={value!r} must be an integer of at least {at_least}.")
    return value


def name_tuple(key: str, attribute: str, names: Any) -> tuple[str, ...]:
    """Names that a class says it reads or makes.

    Raises:
        ArgumentsError: They are no tuple of names; ``("z")`` is the text ``"z"``.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        wanted = f'("{names}",), with a comma' if isinstance(names, str) and names else "a tuple of names"
        raise ArgumentsError(f"{key}: {attribute}={names!r} must be {wanted}.")
    return tuple(names)
