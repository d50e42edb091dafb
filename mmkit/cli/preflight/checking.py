"""The check before a run: everything that is wrong, found without importing what would run."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from mmkit.cli.composing import Composed, environment
from mmkit.cli.preflight.arguments import Arguments, check_sweeps, read_arguments, read_overrides
from mmkit.cli.preflight.diagnosing import Diagnosis, Request, diagnose
from mmkit.cli.preflight.mistakes import Mistake, distinct
from mmkit.cli.preflight.origins import Origins
from mmkit.cli.preflight.places import experiments_in, missing_folder, name_experiments, no_experiment, read_places
from mmkit.cli.preflight.sweeps import Job, is_multirun, jobs
from mmkit.cli.preflight.targets import check_target
from mmkit.cli.preflight.values import missing, named_by_key, nameless, not_allowed, references, unread, unresolved
from mmkit.cli.preflight.walk import Visit, walk
from mmkit.cli.shipped import shipped_configs
from mmkit.conf.projects import find_projects, import_from, search_path, with_folders


# With these flags nothing is run: values may be missing, and targets need not exist.
SHOWING = ("--help", "--cfg", "--info")


# With these Hydra does something else, or looks elsewhere.
UNCHECKED = ("--hydra-help", "--version", "--experimental-rerun", "--config-path", "--shell-completion")


@dataclass
class Checked:
    """What came of the check.

    Attributes:
        arguments: Flags and overrides as they were understood.
        mistakes: Everything that is wrong; empty if the run can start.
        search_path: Entries where the experiments and the configs that mmkit ships lie.
        overrides: Overrides for Hydra.
        composed: The configuration to show, with ``--help``.
    """

    arguments: Arguments
    mistakes: list[Mistake] = field(default_factory=list)
    search_path: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    composed: Composed | None = None

    def for_hydra(self) -> list[str]:
        """The arguments as Hydra takes them: overrides in one piece, flags behind."""
        flags = [part for name, value in self.arguments.flags.items() for part in (name, value) if part]
        return [*self.overrides, *flags]


def check(typed: Sequence[str], config_name: str = "base_config") -> Checked:
    """Check a command line and every configuration that it asks for.

    Args:
        typed: The arguments of ``mmkit_run``.
        config_name: The primary config, if none is typed.
    """
    with paused_collection():
        return _check(typed, config_name)


def _check(typed: Sequence[str], config_name: str) -> Checked:
    import_from(Path.cwd())
    projects = find_projects()
    arguments = read_arguments(typed)
    at_hand = [name for project in projects for name in project.experiments()]
    if any(flag in arguments.flags for flag in UNCHECKED):
        return Checked(arguments, arguments.mistakes, overrides=arguments.overrides)
    good, mistakes = read_overrides(arguments.overrides, at_hand)
    multirun = is_multirun(list(arguments.flags), good)
    mistakes += check_sweeps(good, multirun)
    good = with_folders(good)
    places = read_places(good, projects)
    config_dir = arguments.flags.get("--config-dir")
    folder = missing_folder(config_dir)
    mistakes = [*arguments.mistakes, *mistakes, *places.mistakes, *([folder] if folder else [])]
    config_dir = None if folder else config_dir
    config_name = arguments.flags.get("--config-name", config_name)

    known = list(dict.fromkeys([*at_hand, *experiments_in([*places.entries, *([config_dir] if config_dir else [])])]))
    overrides, unknown, can_go_on = name_experiments(places.overrides, known)
    mistakes += unknown
    entries = [*search_path(overrides, projects), *shipped_configs()]
    checked = Checked(arguments, mistakes, entries, good)
    if config_name == "base_config" and not _names_something(overrides) and not unknown:
        checked.mistakes.append(no_experiment(overrides, known))
        can_go_on = False
    if can_go_on:
        request = Request(config_name, overrides, [*entries, *places.entries], config_dir)
        is_shown = any(flag in arguments.flags for flag in SHOWING)
        made = jobs(overrides, multirun)
        if is_shown:
            shown = check_job(replace(request, overrides=list(made[0].overrides)), made[0], only_composing=True)
            checked.mistakes += shown.mistakes
            checked.composed = shown.composed if "--help" in arguments.flags else None
        else:
            checked.mistakes += check_jobs(request, made)
    checked.mistakes = distinct(checked.mistakes)
    return checked


@contextmanager
def paused_collection() -> Iterator[None]:
    """Without looking for garbage, of which configurations make little: a fifth of the time goes there."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _names_something(overrides: Sequence[str]) -> bool:
    keys = [text.partition("=")[0].lstrip("+") for text in overrides]
    return any(key == "task" or key == "experiment" or key.startswith("task@") for key in keys)


def check_jobs(request: Request, jobs: Sequence[Job]) -> list[Mistake]:
    """Check every job; what is wrong in all of them is told once, without their names."""
    found = [check_job(replace(request, overrides=list(job.overrides)), job).mistakes for job in jobs]
    common = [mistake for mistake in found[0] if all(mistake in other for other in found)] if found else []
    own = [
        replace(mistake, job=job.label)
        for job, mistakes in zip(jobs, found, strict=True)
        for mistake in mistakes
        if mistake not in common
    ]
    return [*common, *own]


def check_job(request: Request, job: Job, only_composing: bool = False) -> Diagnosis:
    """Compose one configuration, and look into it."""
    found = diagnose(request)
    if found.composed is not None and not only_composing:
        looked_at = check_composed(found.composed, found.origins, job, found.broken)
        found.mistakes += [mistake for mistake in looked_at if not _follows(mistake, found.mistakes)]
    found.mistakes = distinct(found.mistakes)
    return found


def _follows(mistake: Mistake, refused: Sequence[Mistake]) -> bool:
    """Whether a mistake is there because a value was refused: what it should have been is missing, or does not fit."""
    if mistake.code == "MM302":
        return mistake.key in map(_key, refused)
    values = [_key(each) for each in refused if each.code in ("MM203", "MM204", "MM301")]
    return mistake.code in ("MM404", "MM405") and _is_within(_key(mistake), values)


def _key(mistake: Mistake) -> str:
    """The key of the configuration that a mistake is about."""
    return mistake.key.partition("=")[0].lstrip("+~")


def check_composed(composed: Composed, origins: Origins, job: Job | None = None, broken: Sequence[str] = ()) -> list[Mistake]:
    """Find what is wrong with a configuration that could be composed."""
    if job is not None and job.number is not None:
        with open_dict(composed.hydra.job):
            OmegaConf.set_readonly(composed.hydra, False)
            composed.hydra.job.num, composed.hydra.job.id = job.number, str(job.number)
    cfg = composed.cfg
    mistakes: list[Mistake] = []
    visits = [visit for visit in walk(cfg) if not _is_within(visit.key, broken)]
    referenced = references(str(visit.node._value()) for visit in visits if visit.node._is_interpolation())
    with composed.resolving(), environment(**_variables(composed)):
        mistakes += _unresolved(visits, cfg, origins)
        for visit in visits:
            found = [missing(visit), unread(visit, cfg, origins, referenced), nameless(visit, origins)]
            mistakes += [mistake for mistake in found if mistake is not None]
            mistakes += check_target(visit, origins)
        mistakes += not_allowed(cfg, origins)
        mistakes += named_by_key(composed, origins)
    return [mistake for mistake in mistakes if not any(_refers_to(mistake, key) for key in broken)]


def _unresolved(visits: Sequence[Visit], cfg: DictConfig, origins: Origins) -> list[Mistake]:
    """Interpolations that do not resolve, without those that only refer to one of them."""
    found = {visit.key: (str(visit.node._value()), mistake) for visit in visits if (mistake := unresolved(visit, cfg, origins))}
    return [mistake for key, (text, mistake) in found.items() if not (references([text]) - {key}) & set(found)]


def _is_within(key: str, broken: Sequence[str]) -> bool:
    """Whether a key lies where a component was left out: what is wrong there follows from that."""
    return any(f"{key}.".startswith(f"{above}.") for above in broken)


def _refers_to(mistake: Mistake, key: str) -> bool:
    return mistake.code == "MM303" and f"{key}." in mistake.message


def _variables(composed: Composed) -> dict[str, str]:
    """Environment variables that Hydra sets for a job."""
    env_set = composed.hydra.job.env_set
    return {str(name): str(value) for name, value in env_set.items()} if env_set is not None else {}
