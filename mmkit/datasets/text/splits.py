"""Which documents of a file are of which split."""

from collections.abc import Sequence
from fractions import Fraction

from mmkit.errors import UsageError


SPLITS = ("train", "validation", "test")
_ALIASES = {"val": "validation", "valid": "validation"}


def split_named(split: str) -> str:
    """The split's own name; ``val`` is ``validation``.

    Raises:
        UsageError: There is no such split.
    """
    name = _ALIASES.get(split, split)
    if name not in SPLITS:
        raise UsageError(f"Unknown split {split!r}. Allowed: {', '.join(SPLITS)} (or val).")
    return name


def split_bounds(num_documents: int, splits_string: str | Sequence[float]) -> dict[str, tuple[int, int]]:
    """Cut ``num_documents`` into contiguous splits; a cut is where it belongs by the shares, rounded to a whole document.

    Args:
        num_documents: Documents of a file.
        splits_string: Shares of train, validation and test, in any unit; missing ones are 0.

    Returns:
        First document, and the one after the last, by split.

    Raises:
        UsageError: Something else is given, or a split with a share gets no document.

    Example:
        >>> split_bounds(10, "800,100,100")
        {'train': (0, 8), 'validation': (8, 9), 'test': (9, 10)}
    """
    shares = _shares(splits_string)
    bounds, below, start = {}, Fraction(0), 0
    for name, share in zip(SPLITS, shares, strict=True):
        below += share
        end = round(num_documents * below / sum(shares))
        bounds[name] = (start, end)
        start = end
    if any(share and bounds[name][0] == bounds[name][1] for name, share in zip(SPLITS, shares, strict=True)):
        counts = ", ".join(f"{name} {end - start}" for name, (start, end) in bounds.items())
        raise UsageError(
            f"splits_string={splits_string!r} of {num_documents} documents leaves a split empty: {counts}. Change the shares, or "
            "give a share of 0 to a split that is not needed."
        )
    return bounds


def _shares(splits_string: str | Sequence[float]) -> list[Fraction]:
    parts = splits_string.split(",") if isinstance(splits_string, str) else list(splits_string)
    try:
        shares = [Fraction(str(part).strip()) for part in parts]
    except ValueError:
        shares = []
    if not 1 <= len(shares) <= 3 or min(shares) < 0 or not sum(shares):
        raise UsageError(f"splits_string={splits_string!r}: give shares of train, validation and test, e.g. '800,100,100'.")
    return shares + [Fraction(0)] * (3 - len(shares))
