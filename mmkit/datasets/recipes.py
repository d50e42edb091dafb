"""Recipes: how a data set is made from public sources, so that ``mmkit data prepare NAME`` can do it.

A recipe is a component of the group ``data``. A project brings its own in a module ``recipe.py`` beside its ``configs`` folder::

    @external_store(group="data", name="digits")
    class Digits(Recipe):
        name = "digits"
        summary = "1,797 handwritten digits of 8 × 8 pixels."
        version = 1

        def build(self, preparation: Preparation) -> Facts: ...

This module imports neither torch nor a project.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from hydra_zen import instantiate

from mmkit.conf.store import external_store
from mmkit.datasets.prepared import folder_of, problem_of
from mmkit.errors import RefusedError, UsageError


Facts = dict[str, Any]


class SourceUnavailableError(RefusedError):
    """A source cannot be reached now; a smaller selection of the data set may still be made."""


@dataclass(frozen=True)
class Preparation:
    """What a recipe is given to work with.

    Attributes:
        folder: Empty folder for the files of the data set.
        downloads: Folder for downloads, kept from one preparation to the next.
        sets: The selection that is made, one of the recipe's ``choices``; empty if it has none.
        track: Iterates over its first argument behind a progress bar called by its second.
        say: Shows the user one line.
    """

    folder: Path
    downloads: Path
    sets: str
    track: Callable[[Sequence[Any], str], Iterable[Any]]
    say: Callable[[str], None]


class Recipe(ABC):
    """Makes one data set.

    Attributes:
        name: What is typed after ``mmkit data prepare``.
        summary: One sentence about the data set.
        version: To be raised whenever the files come out differently; data sets made by another version are refused.
        choices: Selections of sources by name, the largest first, each with its description; empty if there is only one.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[int]
    choices: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def build(self, preparation: Preparation) -> Facts:
        """Write the data set's files into ``preparation.folder``.

        Returns:
            What the manifest says beside names, versions and digests: at least ``sources``, ``licences`` and ``counts``.

        Raises:
            SourceUnavailableError: A source cannot be reached.
        """

    def attempts(self, say: Callable[[str], None]) -> list[str]:
        """The selections to try, best first, when the user names none."""
        return list(self.choices)[:1] or [""]

    def folder(self, sets: str) -> Path:
        """Where a selection of this data set lies once it is prepared."""
        return folder_of(self.name, sets)

    def prepared(self) -> list[str]:
        """The selections that are ready to use, largest first."""
        return [sets for sets in self.choices or [""] if self.problem(sets) is None]

    def problem(self, sets: str) -> str | None:
        """Why a selection cannot be used as it lies there; None if it can."""
        return problem_of(self.folder(sets), self.version)

    def locate(self, sets: str | None = None) -> Path:
        """The folder of a prepared selection; by default of the largest.

        Raises:
            UsageError: There is no such selection.
            RefusedError: It is not prepared; says what to type.
        """
        self.check(sets)
        ready = [choice for choice in self.prepared() if sets in (None, choice)]
        if ready:
            return self.folder(ready[0])
        damaged = [choice for choice in self.choices or [""] if sets in (None, choice) and self.folder(choice).exists()]
        problem = self.problem(damaged[0]) if damaged else "is not prepared"
        raise RefusedError(f"The data set {self.name!r} {problem}. Type: {self.command(sets or (damaged or [''])[0])}")

    def command(self, sets: str | None = None) -> str:
        """What to type to prepare this data set."""
        return f"mmkit data prepare {self.name}" + (f" --sets {sets}" if sets else "")

    def check(self, sets: str | None) -> None:
        """Refuse a selection that does not exist.

        Raises:
            UsageError: It does not; lists those that do.
        """
        if sets is not None and sets not in (self.choices or [""]):
            allowed = f"Allowed: {', '.join(self.choices)}." if self.choices else "It has no selections; leave it out."
            raise UsageError(f"The data set {self.name!r} has no selection {sets!r}. {allowed}")


def registered_recipes() -> list[Recipe]:
    """The recipes that are registered now, by name."""
    recipes = [instantiate(entry["node"]) for entry in external_store if entry["group"] == "data"]
    return sorted(recipes, key=lambda recipe: recipe.name)


def find_recipe(name: str) -> Recipe:
    """The registered recipe of that name.

    Raises:
        UsageError: There is none; lists those there are.
    """
    recipes = {recipe.name: recipe for recipe in registered_recipes()}
    if name not in recipes:
        close = get_close_matches(name, recipes, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(recipes) or 'none'}."
        raise UsageError(f"There is no data set {name!r}. {hint}")
    return recipes[name]


def require_version(package: str, version: str, install: str) -> None:
    """Refuse to read an installed package of another version than the one a recipe is made for.

    Args:
        package: Name of the distribution.
        version: The version it must have.
        install: What to type to install it.

    Raises:
        RefusedError: It is missing or has another version.
    """
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        found = None
    if found != version:
        raise RefusedError(f"{package} {version} is needed, {found or 'nothing'} is installed. Type: {install}")


def installed_digest(package: str) -> str:
    """SHA-256 over the digests that an installed package states of its files, whatever else lies beside them.

    Args:
        package: Name of the distribution; it must be installed.
    """
    files = metadata.files(package) or []
    stated = sorted(f"{path} {path.hash.value}" for path in files if path.hash and not path.parts[0].endswith(".dist-info"))
    return hashlib.sha256("\n".join(stated).encode()).hexdigest()
