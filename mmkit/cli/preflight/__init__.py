"""The check before a run. It imports nothing of what would run: no torch, no component, no project."""

from collections.abc import Sequence

from mmkit.cli.preflight.checking import Checked, check
from mmkit.cli.preflight.mistakes import CODES, Mistake, refuse, told


__all__ = ["CODES", "Checked", "Mistake", "answer", "check", "refuse", "told"]


def answer(typed: Sequence[str]) -> tuple[int, str]:
    """The exit code and the text with which ``mmkit_run`` answers before it runs; 0 and nothing if it would run."""
    mistakes = check(typed).mistakes
    return (2, told(mistakes)) if mistakes else (0, "")
