"""``mmkit``: the commands that are not runs."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import mmkit
from mmkit.errors import MMKitError


# Each command is a module of mmkit.cli with `add_arguments(parser)` and `run(arguments)`, imported when it is typed.
COMMANDS = {
    "ckpt": "list, verify, compare and convert checkpoints",
    "data": "prepare data sets, say where they lie, look at examples",
    "docs": "say what a configuration key means",
    "inspect": "show what an archive or a checkpoint holds, without loading it",
    "list": "list config groups, their options and experiments",
    "new": "write a project that runs at once",
    "plan": "say what an experiment needs and what in it does not fit, before it runs",
    "runs": "list runs, show, compare and delete them, go on with one",
    "show": "show one option of a group: arguments, defaults, how to use it",
    "verify": "try out on an experiment whether it resumes exactly",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``mmkit``; exits with 0, or 2 for wrong usage, 3 for refused data, 130 after Ctrl-C."""
    from mmkit.cli.output import prepare_streams  # imports rich, which not every caller of run() needs

    prepare_streams()
    try:
        code = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:  # `mmkit runs ls | head`: who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter tells of it once more
        code = 0
    raise SystemExit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    arguments = _parser(argv).parse_args(argv)
    try:
        arguments.run(arguments)
    except MMKitError as error:
        print(f"mmkit: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nmmkit: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mmkit", description="Commands that are not runs; experiments run with mmkit_run.")
    parser.add_argument("--version", action="version", version=f"mmkit {mmkit.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if argv and argv[0] == name:
            import_module(f"mmkit.cli.{name}").add_arguments(command)
    return parser
