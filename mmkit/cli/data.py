"""``mmkit data``: the data sets that recipes make."""

import argparse
from typing import Any

from mmkit.cli import peek
from mmkit.cli.output import add_json, console, show_json, show_table
from mmkit.cli.recipes_read import import_recipe, recipe_modules, recipes_at_hand
from mmkit.datasets.cache import cache_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``list``, ``prepare``, ``path`` and ``peek``."""
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    listing = commands.add_parser("list", help="the data sets there are, and which are prepared")
    add_json(listing)
    listing.set_defaults(run=list_data)
    preparing = commands.add_parser("prepare", help="make a data set; does nothing if it is there")
    preparing.add_argument("name", metavar="NAME")
    preparing.add_argument("--sets", metavar="SELECTION", help="which of its sources to use; `mmkit data list` shows them")
    preparing.add_argument("--force", action="store_true", help="make it again")
    preparing.set_defaults(run=prepare_data)
    locating = commands.add_parser("path", help="print the folder of a prepared data set")
    locating.add_argument("name", metavar="NAME")
    locating.add_argument("--sets", metavar="SELECTION", help="default: the largest that is prepared")
    locating.set_defaults(run=print_path)
    peek.add_arguments(commands.add_parser("peek", help="look at the examples of an experiment's data sets"))


def list_data(arguments: argparse.Namespace) -> None:
    """Print a table of the data sets and their selections."""
    recipes = recipes_at_hand()
    if arguments.json:
        show_json([_facts(recipe) for recipe in recipes])
    elif not recipes:
        print("No data sets found. A project brings one with a module recipe.py beside its configs folder.")
    else:
        show_table(("data set", "selection", "prepared", "what it is"), [row for recipe in recipes for row in _rows(recipe)])
        console().print(f"Prepared data lies in {cache_root()} (set by MMKIT_DATA).")


def prepare_data(arguments: argparse.Namespace) -> None:
    """Prepare one data set."""
    from mmkit.datasets.preparation import prepare  # recipes take longer to import than a list may take
    from mmkit.datasets.recipes import find_recipe

    import_recipes()
    prepare(find_recipe(arguments.name), arguments.sets, arguments.force)


def print_path(arguments: argparse.Namespace) -> None:
    """Print where a data set lies, and nothing else."""
    from mmkit.datasets.recipes import find_recipe

    import_recipes()
    print(find_recipe(arguments.name).locate(arguments.sets))


def import_recipes() -> None:
    """Import mmkit's recipes, and the module ``recipe`` of every project in the current directory and beside mmkit."""
    for path, module in recipe_modules():
        import_recipe(path, module)


def _facts(recipe: Any) -> dict[str, Any]:
    selections = [
        {"name": sets, "summary": recipe.choices.get(sets, ""), "state": _state(recipe, sets), "folder": str(recipe.folder(sets))}
        for sets in recipe.choices or [""]
    ]
    return {"name": recipe.name, "summary": recipe.summary, "version": recipe.version, "selections": selections}


def _rows(recipe: Any) -> list[tuple[str, ...]]:
    first = (recipe.name, "", "" if recipe.choices else _state(recipe, ""), recipe.summary)
    return [first, *(("", sets, _state(recipe, sets), description) for sets, description in recipe.choices.items())]


def _state(recipe: Any, sets: str) -> str:
    if recipe.problem(sets) is None:
        return "yes"
    return "damaged" if recipe.folder(sets).exists() else "no"
