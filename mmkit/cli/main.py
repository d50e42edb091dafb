"""``mmkit``: the commands that are not runs."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import mmkit
from mmkit.cli.streams import answering
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
    with answering():
        code = run(sys.argv[1:] if argv is None else argv)
    raise SystemExit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    arguments = _parsed(argv)
    try:
        arguments.run(arguments)
    except MMKitError as error:
        print(f"mmkit: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nmmkit: interrupted", file=sys.stderr)
        return 130
    return 0


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; overrides may stand behind options, too, where argparse does not look for them."""
    parser = _parser(argv)
    arguments, rest = parser.parse_known_args(argv)
    overrides = [argument for argument in rest if "=" in argument and not argument.startswith("-")]
    if len(overrides) < len(rest) or (rest and not hasattr(arguments, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *overrides]
    return arguments


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mmkit", description="Commands that are not runs; experiments run with mmkit_run.")
    parser.add_argument("--version", action="version", version=f"mmkit {mmkit.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if argv and argv[0] == name:
            import_module(f"mmkit.cli.{name}").add_arguments(command)
    return parser
