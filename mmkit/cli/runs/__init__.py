"""``mmkit runs``: what was run, what it came to, how two runs differ, and going on with one. Nothing here needs torch."""

import argparse
import os
import sys
from pathlib import Path

from mmkit.cli.numbers import at_least
from mmkit.cli.output import add_json
from mmkit.cli.runs.comparing import compare
from mmkit.cli.runs.finding import OUTPUTS
from mmkit.cli.runs.listing import list_runs
from mmkit.cli.runs.record import STATES
from mmkit.cli.runs.removing import remove_runs
from mmkit.cli.runs.showing import show


_RUN = "a run's directory, or a part of its name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``ls``, ``show``, ``compare``, ``resume`` and ``rm``."""
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    listing = commands.add_parser("ls", help="a table of runs, the newest first")
    listing.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=OUTPUTS, help=f"default: {OUTPUTS}")
    listing.add_argument("--state", choices=STATES, action="append", help="only runs in this state; may be repeated")
    listing.add_argument("--name", metavar="TEXT", help="only runs with this in their name")
    listing.add_argument("-n", type=at_least(1), metavar="N", dest="number", help="only the newest N")
    add_json(listing)
    listing.set_defaults(run=list_runs)
    showing = commands.add_parser("show", help="what a run was, what it came to, and what to do with it")
    showing.add_argument("name", metavar="RUN", nargs="?", help=f"{_RUN}; default: the newest")
    add_json(showing)
    showing.set_defaults(run=show)
    comparing = commands.add_parser("compare", help="what differs between runs: configuration, code, versions, data, metrics")
    comparing.add_argument("names", metavar="RUN", nargs="+", help=_RUN)
    add_json(comparing)
    comparing.set_defaults(run=compare)
    resuming = commands.add_parser("resume", help="go on with a run that stopped or was killed, with its own configuration")
    resuming.add_argument("directory", metavar="DIR", help="the run's directory")
    resuming.add_argument("overrides", metavar="key=value", nargs="*", help="what is to be different")
    resuming.set_defaults(run=resume_run)
    removing = commands.add_parser("rm", help="delete runs")
    removing.add_argument("names", metavar="RUN", nargs="+", help=_RUN)
    removing.add_argument("--yes", action="store_true", help="do not ask")
    removing.set_defaults(run=remove_runs)


def resume_run(arguments: argparse.Namespace) -> None:
    """Become ``mmkit_run --resume DIR``, which several ranks can start again."""
    script = str(Path(sys.executable).with_name("mmkit_run"))
    os.execv(sys.executable, [sys.executable, script, "--resume", arguments.directory, *arguments.overrides])
