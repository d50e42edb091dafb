"""What a failed run tells its user: one line, the exit code, and where the whole trace is."""

import os
import re
import sys
import traceback
from pathlib import Path

from mmkit.errors import MMKitError, StoppedError, UsageError, causes
from mmkit.experiment.ranks import rank_name


def explain(error: BaseException) -> str:
    """The reason of a failure in one paragraph: the configuration key, if a constructor failed, and the first error's message."""
    key = re.search(r"^full_key: (\S+)", str(error), re.MULTILINE)
    reason = root_cause(error)
    message = str(reason).strip() or "no message"
    if not isinstance(reason, MMKitError | ImportError) and not isinstance(reason, ValueError | TypeError):
        message = f"{type(reason).__name__}: {message}"
    return f"{key.group(1)}: {message}" if key and reason is not error else message


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain of ``raise … from …``, or the first of mmkit's own, which says all that is needed."""
    reason = error
    for reason in causes(error):
        if isinstance(reason, MMKitError):
            break
    return reason


def exit_code(error: BaseException) -> int:
    """The exit code for a failure; see the table in docs/design.md."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    reason = root_cause(error)
    return reason.exit_code if isinstance(reason, MMKitError) else 1


def report(error: BaseException, run_dir: Path) -> None:
    """Print why a run failed, and write the trace into its directory (or print it, if ``MMKIT_TRACE`` is set).

    Of several ranks, only the first tells what all of them find; another one tells its failure under its name.
    """
    rank, reason = rank_name(), root_cause(error)
    is_first = rank == "rank-0"
    if not is_first and isinstance(reason, KeyboardInterrupt | StoppedError | UsageError):
        return
    if isinstance(error, KeyboardInterrupt):
        print("\nmmkit_run: interrupted", file=sys.stderr)
        return
    trace = "".join(traceback.format_exception(error))
    print(f"mmkit_run{'' if is_first else f' ({rank})'}: {explain(error)}", file=sys.stderr)
    if isinstance(reason, StoppedError):
        _tell_how_to_go_on(run_dir)
    if os.environ.get("MMKIT_TRACE"):
        print(trace, file=sys.stderr)
    elif not isinstance(reason, MMKitError):
        path = run_dir / ("error.log" if is_first else f"error-{rank}.log")
        path.write_text(trace)
        print(f"The trace is in {os.path.relpath(path)} (MMKIT_TRACE=1 prints it).", file=sys.stderr)


def _tell_how_to_go_on(run_dir: Path) -> None:
    from mmkit.cli.runs.next_steps import how_to_go_on  # imports rich, for which previews have no time

    if command := how_to_go_on(run_dir):
        print(f"To go on with it: {command}", file=sys.stderr)
