"""Preparing a data set: whole or not at all, once, with a manifest of what it was made from."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import mmkit
from mmkit.datasets.cache import cache_root, locked, sha256_of, written_at_once
from mmkit.datasets.prepared import MANIFEST
from mmkit.datasets.recipes import Preparation, Recipe, SourceUnavailableError


def prepare(recipe: Recipe, sets: str | None = None, force: bool = False, console: Console | None = None) -> Path:
    """Prepare a data set unless it is there already.

    Args:
        recipe: How the data set is made.
        sets: One of the recipe's selections. Default: the recipe chooses by what it finds, and makes do with a smaller one
            when a source cannot be reached.
        force: Whether to make it again even if it is there.
        console: Where progress is shown; default: standard error.

    Returns:
        The folder of the data set.

    Raises:
        UsageError: There is no such selection.
        RefusedError: A source cannot be reached, or is not what the recipe expects.
    """
    recipe.check(sets)
    console = console or Console(stderr=True, highlight=False)
    attempts = [sets] if sets is not None else recipe.attempts(console.print)
    for attempt in attempts[:-1]:
        try:
            return _prepare(recipe, attempt, force, console)
        except SourceUnavailableError as error:
            console.print(f"{error}\nMaking do with less; the whole selection later: {recipe.command(attempt)}", markup=False)
    return _prepare(recipe, attempts[-1], force, console)


def _prepare(recipe: Recipe, sets: str, force: bool, console: Console) -> Path:
    target = recipe.folder(sets)
    with locked(target):
        if not force and recipe.problem(sets) is None:
            console.print(f"{target.name} is prepared already, in {target}. Nothing to do.", markup=False, soft_wrap=True)
            return target
        downloads = cache_root() / "downloads"
        downloads.mkdir(exist_ok=True)
        with written_at_once(target) as folder:
            say: Callable[[str], None] = lambda line: console.print(line, markup=False, soft_wrap=True)  # noqa: E731
            facts = recipe.build(Preparation(folder, downloads, sets, _tracker(console), say))
            (folder / MANIFEST).write_text(json.dumps(manifest(recipe, sets, folder, facts), indent=2, ensure_ascii=False) + "\n")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    console.print(f"{target.name} is prepared: {size / 1e6:.0f} MB in {target}.", markup=False, soft_wrap=True)
    return target


def manifest(recipe: Recipe, sets: str, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What a prepared data set says about itself; the same sources give the same manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
    return {
        "name": recipe.name,
        "sets": sets,
        "version": recipe.version,
        "made_by": f"mmkit {mmkit.__version__}",
        **facts,
        "files": files,
    }


def _tracker(console: Console) -> Callable[[Sequence[Any], str], Iterable[Any]]:
    def track(items: Sequence[Any], description: str) -> Iterable[Any]:
        if not items:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            yield from progress.track(items, description=description)

    return track
