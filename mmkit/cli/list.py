"""``mmkit list``: the config groups, their options, and the experiments of projects."""

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkit.cli.documentation import documentation_of, introduction, plain, readable_signature
from mmkit.cli.options import EXPERIMENTS, config_folders, group_names, option_files, option_names
from mmkit.cli.output import add_json, console, show_json, show_table
from mmkit.cli.usage import description, first_sentence, place_of
from mmkit.conf.groups import GROUP_MODULES
from mmkit.conf.index import entries
from mmkit.conf.projects import find_projects, use
from mmkit.conf.reading import NoSuchModule, Unreadable, read_module
from mmkit.conf.reading.errors import close_names
from mmkit.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the group, ``--projects`` and ``--json``."""
    parser.add_argument("group", metavar="GROUP", nargs="?", help="a config group, such as modules/losses; without: all groups")
    parser.add_argument("--projects", action="store_true", help="the experiments of the projects found here and of mmkit")
    add_json(parser)
    parser.set_defaults(run=list_parts)


def list_parts(arguments: argparse.Namespace) -> None:
    """Print groups, options or experiments.

    Raises:
        UsageError: There is no such group.
    """
    folders = take_part()
    if arguments.projects or arguments.group == EXPERIMENTS:
        _print(("experiment", "project", "what it says"), experiments(), arguments.json)
    elif arguments.group is None:
        _print(("group", "options", "what it holds"), groups(folders), arguments.json)
        if not arguments.json:
            console().print("\nmmkit list GROUP: its options. mmkit list --projects: experiments.")
    else:
        group = known_group(arguments.group, folders)
        _print(("option", "what it is"), options(group, folders), arguments.json)
        if not arguments.json:
            console().print(f"\nmmkit show {group}/NAME: arguments, and how to use it.")


def take_part() -> list[Path]:
    """Let all projects found here take part, and return the folders of configs."""
    projects = find_projects()
    for project in projects:
        use(project)
    return config_folders(projects)


def known_group(given: str, folders: list[Path]) -> str:
    """The group that is meant; raises UsageError with the closest one."""
    known = [*group_names(folders), EXPERIMENTS]
    group = given.strip("/")
    if group in known:
        return group
    if below := [each for each in known if each.startswith(f"{group}/")]:
        raise UsageError(f"{given!r} is no group, but holds some: {', '.join(below)}.")
    by_end = {each.rpartition("/")[2]: each for each in known}
    meant = [*close_names(group, known), *(by_end[each] for each in close_names(group, by_end))]
    raise UsageError(f"There is no group {given!r}. {did_you_mean(meant, known)}")


def did_you_mean(meant: Sequence[str], known: Sequence[str]) -> str:
    """The best of what may have been meant, or all that there is."""
    return f"Did you mean {meant[0]}?" if meant else f"There are: {', '.join(known)}."


def groups(folders: list[Path]) -> list[dict[str, Any]]:
    """Every group with its number of options and what its module says."""
    found = [
        {"group": name, "options": len(option_names(name, folders)), "doc": _group_doc(name)} for name in group_names(folders)
    ]
    return [each for each in found if each["options"]]


def options(group: str, folders: list[Path]) -> list[dict[str, Any]]:
    """Every option of a group, with the first sentence of its documentation and what a preset sets."""
    files = [
        {"name": name, "doc": description(path), "file": str(path), "line": 1, "target": None, "values": {}}
        for name, path in option_files(group, folders).items()
    ]
    parts = [
        {
            "name": each.name,
            "doc": _doc(each.target),
            "file": each.file,
            "line": each.line,
            "target": each.target,
            "values": dict(each.values),
        }
        for each in entries(group)
    ]
    return sorted([*files, *parts], key=lambda each: each["name"].lower())


def experiments() -> list[dict[str, Any]]:
    """Every experiment with its project and the first sentence of its file."""
    return [
        {
            "name": name,
            "project": place_of(project),
            "doc": description(path := project.configs / EXPERIMENTS / f"{name}.yaml"),
            "file": str(path),
        }
        for project in find_projects()
        for name in project.experiments()
    ]


def _doc(target: str) -> str:
    found = readable_signature(target)
    return "" if found is None else first_sentence(introduction(documentation_of(found)))


def _group_doc(group: str) -> str:
    try:
        text = ast.get_docstring(read_module(GROUP_MODULES[group]).tree) or ""
    except (KeyError, Unreadable, NoSuchModule):
        return ""
    return plain(first_sentence(text)).rstrip(".")


def _print(columns: tuple[str, ...], found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    keys = {"group": "group", "options": "options", "experiment": "name", "option": "name", "project": "project"}
    show_table(columns, [[_cell(each, keys.get(column, "doc")) for column in columns] for each in found], right=("options",))


def _cell(found: dict[str, Any], key: str) -> Any:
    """A cell; what a preset sets stands before what it is a preset of."""
    if key == "doc" and found.get("values"):
        values = ", ".join(f"{name}={value}" for name, value in found["values"].items())
        return f"[{values}] {found['doc']}"
    return found[key]
