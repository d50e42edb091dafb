"""Recipes of data sets as their source tells of them: for a list of them, importing them takes too long."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkit.conf.groups import FURTHER_MODULES
from mmkit.conf.projects import find_projects, import_from
from mmkit.conf.reading import NoSuchModule, NoSuchName, Unreadable, read_module, resolve
from mmkit.conf.reading.classes import own_binding
from mmkit.conf.reading.names import member
from mmkit.conf.reading.values import value_of
from mmkit.datasets.prepared import folder_of, problem_of


if TYPE_CHECKING:
    from mmkit.datasets.recipes import Recipe


@dataclass(frozen=True)
class ReadRecipe:
    """What a list needs of a recipe; named as in ``Recipe``."""

    name: str
    summary: str
    version: int
    choices: dict[str, str]

    def folder(self, sets: str) -> Path:
        return folder_of(self.name, sets)

    def problem(self, sets: str) -> str | None:
        return problem_of(self.folder(sets), self.version)


def recipes_at_hand() -> "list[ReadRecipe | Recipe]":
    """The recipes of mmkit, and of projects in the current directory and beside mmkit, by name.

    A module whose recipes only importing tells is imported; what cannot be imported is told, and left out.
    """
    found: dict[str, ReadRecipe | Recipe] = {}
    for path, module in recipe_modules():
        try:
            read = list(_read(module))
        except (Unreadable, NoSuchName, NoSuchModule, SyntaxError):
            read = []
        for recipe in read or _imported(path, module):
            found[recipe.name] = recipe
    return sorted(found.values(), key=lambda recipe: recipe.name)


def recipe_modules() -> Iterator[tuple[Path, str]]:
    """Files with recipes and their dotted names: mmkit's own, and each project's, which can be imported from here on."""
    own = FURTHER_MODULES["data"]
    yield read_module(own).path, own
    for project in find_projects():
        path = project.configs.parent / "recipe.py"
        if path.is_file():
            import_from(project.root)
            yield path, ".".join([*project.package.split(".")[:-1], "recipe"])


def import_recipe(path: Path, module: str) -> bool:
    """Import the recipes of a file; say it and return False if that fails: those of another project can still be used."""
    try:
        import_module(module)
    except Exception as error:  # whatever a project's own code raises
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        print(f"mmkit: {path} cannot be imported: {reason}", file=sys.stderr)
        return False
    return True


def _read(module: str) -> Iterator[ReadRecipe]:
    source = read_module(module)
    classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef) and any(map(_registers, node.decorator_list))]
    calls = [node for node in ast.walk(source.tree) if _registers(node)]
    if len(classes) != len(calls):
        raise Unreadable(f"{module} registers recipes in another way than by decorators")
    for node in classes:
        definition = resolve(f"{module}.{node.name}")
        if any(own_binding(definition, name) for name in ("folder", "problem")):
            raise Unreadable(f"{definition.dotted} says for itself where its data lies")
        yield ReadRecipe(**{name: value_of(member(definition, name)) for name in ("name", "summary", "version", "choices")})


def _registers(node: ast.AST) -> bool:
    """Whether this is ``external_store(group="data", …)``."""
    if not isinstance(node, ast.Call):
        return False
    groups: list[Any] = [each.value for each in node.keywords if each.arg == "group"]
    return any(isinstance(group, ast.Constant) and group.value == "data" for group in groups)


def _imported(path: Path, module: str) -> "list[Recipe]":
    if not import_recipe(path, module):
        return []
    from mmkit.datasets.recipes import registered_recipes

    return [recipe for recipe in registered_recipes() if type(recipe).__module__ == module]
