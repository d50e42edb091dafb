"""The jobs of a sweep, as Hydra's sweeper makes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from mmkit.cli.preflight.arguments import first_of_sweep, parsed


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        number: As in ``hydra.job.num``; None for a single run.
        overrides: Its overrides.
        label: How it is named; empty for a single run.
    """

    number: int | None
    overrides: tuple[str, ...]
    label: str = ""


def is_multirun(flags: Sequence[str], overrides: Sequence[str]) -> bool:
    """Whether several runs are asked for."""
    return "--multirun" in flags or any(text.lstrip("+").lower() == "hydra.mode=multirun" for text in overrides)


def jobs(overrides: Sequence[str], multirun: bool) -> list[Job]:
    """The jobs; for another sweeper than Hydra's own, one with the first value of everything that is swept."""
    read = [override for text in overrides if (override := parsed(text)) is not None]
    if not multirun:
        return [Job(None, tuple(text for override in read for text in first_of_sweep(override)))]
    hydra = [text for override in read if override.is_hydra_override() for text in first_of_sweep(override)]
    task = [override for override in read if not override.is_hydra_override()]
    swept = [override.key_or_group for override in [*task, *_parameters(read)] if override.is_sweep_override()]
    try:
        if any(text.startswith("hydra/sweeper=") and text != "hydra/sweeper=basic" for text in hydra):
            raise HydraException("only it knows its jobs")
        batches = BasicSweeper.split_arguments([*_parameters(read), *task], None)[0]
    except HydraException:
        batches = [[text for override in task for text in first_of_sweep(override)]]
    return [_job(number, batch, hydra, swept) for number, batch in enumerate(batches)]


def _job(number: int, batch: Sequence[str], hydra: Sequence[str], swept: Sequence[str]) -> Job:
    own = [text for text in batch if text.partition("=")[0].lstrip("+").partition("@")[0] in swept]
    return Job(number, (*hydra, *batch), f"job {number}" + (f" ({' '.join(own)})" if own else ""))


def _parameters(overrides: Sequence[Override]) -> list[Override]:
    """What ``hydra.sweeper.params`` sweeps besides."""
    found = []
    for override in overrides:
        prefix, _, key = override.key_or_group.partition("hydra.sweeper.params.")
        if key and not prefix and (parameter := parsed(f"{key}={override.value()}")) is not None:
            found.append(parameter)
    return found
