"""The check before a run. It imports nothing of what would run: no torch, no component, no project."""

from collections.abc import Sequence

from mmkit.cli.composing import Composed
from mmkit.cli.preflight.checking import Checked, check
from mmkit.cli.preflight.mistakes import CODES, Mistake, refuse, told
from mmkit.errors import UsageError


__all__ = ["CODES", "Checked", "Mistake", "answer", "check", "compose_to_read", "refuse", "told"]


def compose_to_read(typed: Sequence[str]) -> Composed:
    """A configuration as ``mmkit_run --help`` composes it: what is missing or wrong in what is not read does no harm.

    Raises:
        UsageError: It does not compose; tells all mistakes.
    """
    checked = check([*typed, "--help"])
    if checked.mistakes or checked.composed is None:
        raise UsageError("\n".join(line for mistake in checked.mistakes for line in mistake.lines()))
    return checked.composed


def answer(typed: Sequence[str]) -> tuple[int, str]:
    """The exit code and the text with which ``mmkit_run`` answers before it runs; 0 and nothing if it would run."""
    mistakes = check(typed).mistakes
    return (2, told(mistakes)) if mistakes else (0, "")
