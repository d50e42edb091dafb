"""A mistake in what was typed or written, and how it is told."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


#: What every code means; docs/cli.md shows this table. Codes are never given a new meaning.
CODES = {
    "MM101": "a flag that mmkit_run does not know",
    "MM102": "an argument that is not key=value, or not in the grammar of overrides",
    "MM103": "an argument that the shell has taken apart",
    "MM104": "several values without --multirun",
    "MM105": "no experiment",
    "MM106": "an experiment that does not exist",
    "MM107": "a search path or a folder of configs that does not exist",
    "MM108": "several values for a setting of Hydra's own",
    "MM201": "an option that its group does not have",
    "MM202": "a group that does not exist",
    "MM203": "a key that the configuration does not have",
    "MM204": "a + too much, or one too few",
    "MM205": "a key that nothing reads",
    "MM206": "a group that no defaults list names there",
    "MM301": "a value of the wrong type",
    "MM302": "a value that is missing",
    "MM303": "an interpolation that does not resolve",
    "MM304": "an environment variable that is not set",
    "MM305": "a value that is not allowed",
    "MM401": "a _target_ whose module does not define it",
    "MM402": "a _target_ in a module that does not exist",
    "MM403": "a _target_ in a package that is not installed",
    "MM404": "an argument that its _target_ does not take",
    "MM405": "an argument that its _target_ needs",
    "MM501": "a file that is not YAML",
    "MM502": "a tab in YAML",
    "MM503": "an override before a plain default",
    "MM504": "an experiment without # @package _global_",
    "MM505": "another mistake in a defaults list",
    "MM506": "a file that cannot be merged",
    "MM601": "a project's module that raises when it is imported",
    "MM900": "anything else that Hydra refuses",
}


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        code: One of ``CODES``.
        key: What it is about: an argument as typed, a key of the configuration, a flag.
        message: What is wrong, in one line.
        suggestion: What to type or to write instead; empty if that cannot be known.
        advice: What else to do.
        place: Where it stands, as ``file:line`` or ``file:line:column``; empty for the command line.
        job: Which job of a sweep has it; empty if all have.
    """

    code: str
    key: str
    message: str
    suggestion: str = ""
    advice: str = ""
    place: str = ""
    job: str = ""

    def lines(self) -> list[str]:
        """The mistake in at most three lines."""
        where = ": ".join(part for part in (self.job, self.place, self.key) if part)
        verb = "Write" if self.place else "Type"
        hints = [f"{verb} {self.suggestion}"] if self.suggestion else []
        hints += [self.advice] if self.advice else []
        return [f"{self.code} {where}: {one_line(self.message)}", *(f"      {one_line(hint)}" for hint in hints)]


def one_line(text: str, limit: int = 400) -> str:
    """Text without line breaks, and not endless."""
    joined = " ".join(text.split())
    return joined if len(joined) <= limit else f"{joined[: limit - 1]}…"


def place_of(path: Path | str, line: int | None = None, column: int | None = None) -> str:
    """Name a place in a file, relative to the current directory if it lies in it; lines and columns count from 1."""
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute)
    name = absolute if relative.startswith("..") else relative
    return ":".join([name, *(str(number) for number in (line, column) if number is not None)])


def told(mistakes: Sequence[Mistake], program: str = "mmkit_run") -> str:
    """All mistakes in one answer."""
    count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    lines = [f"{program}: {count}; nothing was started.", *(line for mistake in mistakes for line in mistake.lines())]
    return "\n".join(lines)


def distinct(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Mistakes in their order, each once, and only the first about the same place and key."""
    return list({(mistake.job, mistake.place, mistake.key): mistake for mistake in reversed(mistakes)}.values())[::-1]


def refuse(mistakes: Sequence[Mistake]) -> None:
    """End with all mistakes, told by the first rank; do nothing if there are none."""
    if not mistakes:
        return
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or "0"
    if rank == "0":
        print(told(mistakes), file=sys.stderr)
    raise SystemExit(2)
