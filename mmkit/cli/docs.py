"""``mmkit docs``: what a key of the configuration means."""

import argparse
from pathlib import Path

from mmkit.cli.key_docs import KeyDoc, of_base
from mmkit.cli.list import take_part
from mmkit.cli.output import add_json, console, show_json, show_table
from mmkit.cli.show import short_place
from mmkit.conf.projects import find_projects
from mmkit.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the key, the experiment and ``--json``."""
    parser.add_argument("key", metavar="KEY", help="such as trainer.max_steps; with an experiment also task.loss.l2_normalize")
    parser.add_argument("--experiment", metavar="NAME", help="look in the configuration of this experiment")
    add_json(parser)
    parser.set_defaults(run=docs)


def docs(arguments: argparse.Namespace) -> None:
    """Print what a key means.

    Raises:
        UsageError: There is no such key, or only an experiment tells what it is.
    """
    take_part()
    key = arguments.key.lstrip("+~").partition("=")[0].strip(".")
    experiment = arguments.experiment
    found = None if experiment else of_base(key)
    if found is None:
        from mmkit.cli.docs_of_experiment import of_experiment  # composes, which takes longer

        found = of_experiment(key, experiment or _only_experiment(key))
    if arguments.json:
        show_json(vars(found))
    else:
        _print(found)


def _only_experiment(key: str) -> str:
    """The experiment that is meant if none is named: the one of the current directory, if it has one."""
    projects = find_projects()
    own = [name for project in projects if project.configs.is_relative_to(Path.cwd()) for name in project.experiments()]
    if len(own) == 1:
        return own[0]
    names = [name for project in projects for name in project.experiments()]
    known = ", ".join(names) or "none"
    raise UsageError(f"What {key} is, an experiment decides. Type: mmkit docs {key} --experiment NAME. There are: {known}.")


def _print(found: KeyDoc) -> None:
    out = console()
    default = f" = {found.default}" if found.default else ""
    out.print(f"{found.key}{': ' if found.type else ''}{found.type}{default}", style="bold")
    if found.doc:
        print()
        out.print(found.doc, soft_wrap=False)
    if found.keys:
        print()
        show_table(("key", "what it means"), list(found.keys.items()))
    if found.read_by:
        out.print(f"\nread by   {found.read_by}\ndefined   {short_place(found.defined)}")
