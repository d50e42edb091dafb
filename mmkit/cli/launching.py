"""Hand a checked command line to Hydra."""

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

import mmkit.conf.base  # noqa: F401  registers base_config
from mmkit.cli.job import State, job
from mmkit.cli.preflight.checking import SHOWING, UNCHECKED, Checked, check_jobs
from mmkit.cli.preflight.diagnosing import Request
from mmkit.cli.preflight.imports import import_projects
from mmkit.cli.preflight.mistakes import refuse
from mmkit.cli.preflight.sweeps import Job
from mmkit.conf.projects import import_from
from mmkit.errors import MMKitError, UsageError


def start(checked: Checked) -> None:
    """Run, sweep, or show what Hydra's own flags ask for."""
    Plugins.instance().register(search_path_of(checked.search_path))
    if not any(flag in checked.arguments.flags for flag in (*UNCHECKED, *SHOWING)):
        import_projects()
    launch("base_config", checked.for_hydra())


def resume_run(arguments: Sequence[str]) -> None:
    """Go on with the run in a directory.

    Args:
        arguments: The directory, and what is to be different.
    """
    from mmkit.cli.saved import NAME, register_saved

    import_from(Path.cwd())
    try:
        if not arguments:
            raise UsageError("--resume needs the directory of a run.")
        overrides = register_saved(Path(arguments[0]), arguments[1:])
    except MMKitError as error:
        print(f"mmkit_run: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    refuse(check_jobs(Request(NAME, overrides), [Job(None, tuple(overrides))]))
    launch(NAME, overrides)


def launch(config_name: str, arguments: Sequence[str]) -> None:
    """Let Hydra compose a configuration of its store and run it; exits with the code of a failure."""
    State.typed = sys.argv[1:]
    sys.argv[1:] = arguments
    try:
        hydra.main(version_base="1.3", config_path=None, config_name=config_name)(job)()
    except SystemExit as stop:
        if stop.code == 1 and not State.job_started:  # Hydra has printed what is wrong with the configuration
            raise SystemExit(2) from None
        raise


def search_path_of(entries: Sequence[str]) -> type[SearchPathPlugin]:
    """A Hydra plugin that adds these entries to the search path."""

    class ProjectSearchPath(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for entry in entries:
                search_path.append(provider="mmkit", path=entry)

    return ProjectSearchPath
