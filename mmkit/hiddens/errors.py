"""Mistakes in the configuration of hiddens. A run ends with their message alone, and exit code 2."""

from collections.abc import Iterable
from difflib import get_close_matches

from mmkit.errors import UsageError


class HiddensError(UsageError):
    """A name, or a combination of settings, that cannot work; a ``ValueError``."""


class UnknownNameError(HiddensError, KeyError):
    """Something that is not registered, or not said; a ``KeyError``, too."""

    def __str__(self) -> str:  # KeyError would print it in quotes
        return str(self.args[0])


class ArgumentsError(HiddensError, TypeError):
    """Arguments that a class does not take, or not so; a ``TypeError``, too."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A sentence that names what is closest, with a space before it; empty if nothing is close."""
    close = get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(names) or "nothing"
