"""``mmkit_run``: check an experiment, then run it, or show it. Each branch imports what it needs, so that each answers fast."""

import gc
import sys
from collections.abc import Sequence

from mmkit.cli.streams import answering, prepare_streams


def main() -> None:
    """Entry point of ``mmkit_run``."""
    prepare_streams()
    typed = sys.argv[1:]
    if typed[:1] in (["-sc"], ["--shell-completion"]):
        _complete(typed)
    elif typed[:1] == ["--resume"]:
        resume(typed[1:])
    elif not typed:
        _show_usage()
    elif typed in (["--help"], ["-h"]):
        _show_help()
    else:
        _check_and_go_on(typed)


def _check_and_go_on(typed: Sequence[str]) -> None:
    gc.disable()  # importing and composing make little garbage, and looking for it takes a tenth of the time
    from mmkit.cli.preflight import check, refuse

    checked = check(typed)
    refuse(checked.mistakes)
    if checked.composed is not None:
        from mmkit.cli.preview import print_preview

        with answering():
            print_preview(checked.composed)
        return
    from mmkit.cli.launching import start

    gc.enable()
    start(checked)


def resume(arguments: Sequence[str]) -> None:
    """Go on with the run in a directory: ``--resume DIR [key=value ...]``."""
    from mmkit.cli.launching import resume_run

    resume_run(arguments)


def _complete(typed: Sequence[str]) -> None:
    from mmkit.cli.completion import answer_query, is_query

    if is_query(typed):
        answer_query(typed)
        return
    from mmkit.cli.launching import launch

    launch("base_config", typed)  # installing is Hydra's


def _show_usage() -> None:
    from mmkit.cli.usage import print_usage
    from mmkit.conf.projects import find_projects

    with answering():
        print_usage(find_projects())
    raise SystemExit(2)


def _show_help() -> None:
    from mmkit.cli.preview import print_help
    from mmkit.conf.projects import find_projects

    with answering():
        print_help(find_projects())
