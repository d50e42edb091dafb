"""``mmkit_run``: compose an experiment and run it."""

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig

import mmkit
import mmkit.conf.base  # registers base_config
from mmkit.cli.failure import exit_code, explain, report
from mmkit.conf.projects import (
    Project,
    experiment_names,
    find_projects,
    import_from,
    import_packages,
    search_path,
    with_folders,
)
from mmkit.errors import MMKitError, StoppedError, UsageError


def job(cfg: DictConfig) -> float | None:
    """Run one composed experiment; Hydra's launchers call it by reference.

    Returns:
        The monitored metric, for sweepers that optimize.
    """
    _state.job_started = True
    if _state.typed:
        sys.argv[1:] = _state.typed  # Lightning starts further ranks with them
    for message in _NOT_THE_USERS:
        warnings.filterwarnings("ignore", message)
    try:
        from mmkit.cli.summary import print_summary  # imports torch: only once there is something to run
        from mmkit.experiment.run import run

        hydra_config = HydraConfig.get()
        _set_log_levels(hydra_config)
        run_dir = Path(hydra_config.runtime.output_dir)
        outcome = run(cfg, run_dir, list(hydra_config.overrides.task))
        if _write_report(run_dir):
            print_summary(outcome, run_dir)
        return outcome.monitored
    except SystemExit as stop:  # Lightning turns Ctrl-C into exit code 1
        interrupted = isinstance(stop.__context__, KeyboardInterrupt)
        raise SystemExit(130) if interrupted else stop from None
    except (Exception, KeyboardInterrupt) as error:
        hydra_config = HydraConfig.get()
        report(error, Path(hydra_config.runtime.output_dir))
        if isinstance(error, StoppedError):
            _write_report(Path(hydra_config.runtime.output_dir))
        goes_on = isinstance(error, Exception) and not isinstance(error, StoppedError)
        if hydra_config.mode == RunMode.MULTIRUN and goes_on:  # the other jobs do
            raise CompactHydraException(explain(error)) from None  # which Hydra prints without a trace
        raise SystemExit(exit_code(error)) from None


def _write_report(run_dir: Path) -> bool:
    """Write the run's report, and return True, on the first rank."""
    from mmkit.experiment.ranks import is_rank_zero
    from mmkit.report import write_report

    if is_rank_zero():
        write_report(run_dir)
    return is_rank_zero()


def _set_log_levels(hydra_config: HydraConf) -> None:
    """Again as configured: Lightning sets its own when it is imported, which may be after Hydra has configured logging."""
    for name, settings in hydra_config.job_logging.get("loggers", {}).items():
        logging.getLogger(name).setLevel(settings.level)


# Warnings about other libraries' insides, or about documented defaults, on which no user can act.
_NOT_THE_USERS = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"'pin_memory' argument is set as true but no accelerator is found",
    r"The dirpath has changed from",
)


class _State:
    job_started = False
    typed: Sequence[str] = ()


_state = _State()


def main() -> None:
    """Entry point of ``mmkit_run``."""
    typed = sys.argv[1:]
    if typed[:1] == ["--resume"]:
        resume(typed[1:])
        return
    arguments = with_plus(typed)
    projects = find_projects()
    if not arguments:
        print(usage(projects))
        raise SystemExit(2)
    if unknown := unknown_experiment(arguments, projects):
        print(f"mmkit_run: {unknown}", file=sys.stderr)
        raise SystemExit(2)
    import_from(Path.cwd())
    entries = [*search_path(arguments, projects), *_shipped_configs()]
    Plugins.instance().register(search_path_of(entries))
    arguments = with_folders(arguments)
    import_packages()
    launch("base_config", arguments)


def resume(arguments: Sequence[str]) -> None:
    """Go on with the run in a directory: ``--resume DIR [key=value ...]``."""
    from mmkit.cli.saved import NAME, register_saved

    import_from(Path.cwd())
    try:
        if not arguments:
            raise UsageError("--resume needs the directory of a run.")
        overrides = register_saved(Path(arguments[0]), arguments[1:])
    except MMKitError as error:
        print(f"mmkit_run: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    launch(NAME, overrides)


def launch(config_name: str, arguments: Sequence[str]) -> None:
    """Let Hydra compose a configuration of its store and run it; exits with the code of a failure."""
    _state.typed = sys.argv[1:]
    sys.argv[1:] = arguments
    try:
        hydra.main(version_base="1.3", config_path=None, config_name=config_name)(job)()
    except SystemExit as stop:
        if stop.code == 1 and not _state.job_started:  # Hydra has printed what is wrong with the configuration
            raise SystemExit(2) from None
        raise


def usage(projects: Sequence[Project]) -> str:
    """What to type, with the experiments at hand."""
    lines = [f"  {name:<24} {os.path.relpath(project.configs.parent)}" for project in projects for name in project.experiments()]
    listed = "\n".join(lines) or "  none: a project is a folder with configs/__init__.py and configs/experiment/NAME.yaml"
    return f"mmkit_run +experiment=NAME [key=value ...]\n\nExperiments found:\n{listed}\n\n--help shows the configuration of one."


def with_plus(arguments: Sequence[str]) -> list[str]:
    """Arguments with ``experiment=x`` written as ``+experiment=x``, which Hydra asks for."""
    return [f"+{argument}" if argument.startswith("experiment=") else argument for argument in arguments]


def unknown_experiment(arguments: Sequence[str], projects: Sequence[Project]) -> str | None:
    """A message if an experiment exists nowhere; with a search path of its own, the answer is left to Hydra."""
    if any("hydra.searchpath" in argument or argument.startswith(("-cd", "--config-dir")) for argument in arguments):
        return None
    known = [name for project in projects for name in project.experiments()]
    missing = next((name for name in experiment_names(arguments) if name not in known), None)
    if missing is None:
        return None
    close = get_close_matches(missing, known, n=1)
    hint = f"Did you mean +experiment={close[0]}?" if close else f"Known: {', '.join(known) or 'none'}."
    return f"there is no experiment {missing!r}. {hint} A project elsewhere is added with 'hydra.searchpath=[pkg://my_project.configs]'."


def search_path_of(entries: Sequence[str]) -> type[SearchPathPlugin]:
    """A Hydra plugin that adds these entries to the search path."""

    class ProjectSearchPath(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for entry in entries:
                search_path.append(provider="mmkit", path=entry)

    return ProjectSearchPath


def _shipped_configs() -> list[str]:
    package = Path(mmkit.__file__).parent
    folders = [package / "configs", package.parent / "configs"]  # inside a wheel; in the repository
    return [f"file://{folder}" for folder in folders if (folder / "trainer").is_dir()][:1]
