"""``mmkit runs``: what can be done with a run once it has been started."""

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``resume``."""
    commands = parser.add_subparsers(metavar="ACTION", required=True)
    resume = commands.add_parser("resume", help="go on with a run that stopped or was killed, with its own configuration")
    resume.add_argument("directory", metavar="DIR", help="the run's directory")
    resume.add_argument("overrides", metavar="key=value", nargs="*", help="what is to be different")
    resume.set_defaults(run=resume_run)


def resume_run(arguments: argparse.Namespace) -> None:
    """Become ``mmkit_run --resume DIR``, which several ranks can start again."""
    script = str(Path(sys.executable).with_name("mmkit_run"))
    os.execv(sys.executable, [sys.executable, script, "--resume", arguments.directory, *arguments.overrides])
