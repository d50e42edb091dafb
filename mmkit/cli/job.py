"""One job of ``mmkit_run``: what Hydra calls with a composed configuration."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from mmkit.cli.failure import exit_code, explain, report
from mmkit.conf.projects import import_packages
from mmkit.errors import StoppedError


class State:
    """What ``main`` has to know of the jobs of its process, and they of it."""

    job_started = False
    typed: Sequence[str] = ()


def job(cfg: DictConfig) -> float | None:
    """Run one composed experiment; Hydra's launchers call it by reference.

    Returns:
        The monitored metric, for sweepers that optimize.
    """
    State.job_started = True
    if State.typed:
        sys.argv[1:] = State.typed  # Lightning starts further ranks with them
    for message in _NOT_THE_USERS:
        warnings.filterwarnings("ignore", message)
    try:
        import_packages()  # here too: a launcher may have started this job in a process of its own
        if cfg.dry_run:
            from mmkit.cli.plan import dry_run

            return dry_run(cfg, Path(HydraConfig.get().runtime.output_dir))
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
