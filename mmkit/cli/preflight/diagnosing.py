"""Composing in spite of mistakes: each is told, and what was meant, or nothing, is put in its place."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mmkit.cli.composing import Composed, composed_of, loader_of
from mmkit.cli.preflight.arguments import parsed
from mmkit.cli.preflight.defaults import DefaultsRepair
from mmkit.cli.preflight.merging import Merging
from mmkit.cli.preflight.mistakes import Mistake
from mmkit.cli.preflight.origins import Origins
from mmkit.cli.preflight.overriding import Overriding
from mmkit.cli.preflight.sources import Sources


LIMIT = 40  # repairs of defaults lists


@dataclass
class Request:
    """What is to be composed.

    Attributes:
        config_name: The primary config.
        overrides: Overrides that can be read.
        search_path: Entries of the search path that exist.
        config_dir: ``--config-dir``.
    """

    config_name: str
    overrides: list[str]
    search_path: Sequence[str] = ()
    config_dir: str | None = None


@dataclass
class Diagnosis:
    """What came of composing.

    Attributes:
        composed: The configuration, with mistakes repaired; None if nothing could be composed.
        mistakes: What is wrong.
        origins: Who has set the keys.
        broken: Keys where a component was left out.
    """

    composed: Composed | None
    mistakes: list[Mistake]
    origins: Origins
    broken: list[str]


#: What composing raises for mistakes; anything else is a bug, of Hydra's or ours.
REFUSALS = (HydraException, OmegaConfBaseException, YAMLError, ValueError, AssertionError, OSError, TypeError, KeyError)


def diagnose(request: Request) -> Diagnosis:
    """Compose as Hydra's ``load_configuration`` does, but repair what is wrong."""
    loader = loader_of(request.search_path, request.config_dir)
    sources = Sources(loader.config_search_path)
    loader.repository = sources
    repository = CachingConfigRepository(sources)
    overrides = [override for text in request.overrides if (override := parsed(text)) is not None]
    mistakes: list[Mistake] = []
    repair = DefaultsRepair(sources, overrides, mistakes)
    defaults = _choose(repository, request.config_name, repair)
    if defaults is None or sources.has_unreadable:
        told = [mistake for mistake in mistakes if not (sources.has_unreadable and mistake.code in ("MM206", "MM302"))]
        return Diagnosis(None, [*sources.mistakes, *told], Origins(lambda: sources, list, []), repair.broken)
    cfg = _merge(loader, repository, sources, defaults, mistakes)
    choices = defaults.overrides.known_choices
    overriding = Overriding(cfg, choices, sources)
    OmegaConf.set_struct(cfg, True)
    for override in defaults.config_overrides:
        overriding.apply(override)
    _tell_hydra(cfg, request.config_name, overrides, choices)
    applied = [str(override.input_line) for override in overrides]
    origins = Origins(lambda: sources, lambda: defaults.defaults, applied)
    composed = composed_of(cfg, loader, request.config_name, applied)
    return Diagnosis(composed, [*sources.mistakes, *mistakes, *overriding.mistakes], origins, repair.broken)


def _merge(
    loader: ConfigLoaderImpl,
    repository: CachingConfigRepository,
    sources: Sources,
    defaults: DefaultsList,
    mistakes: list[Mistake],
) -> DictConfig:
    """Merge all configs; if that fails, once more without what does not fit."""
    try:
        return loader._compose_config_from_defaults_list(defaults.defaults, repository)
    except REFUSALS:
        repository.cache.clear()  # Hydra merges into what is loaded
        merging = Merging(loader, repository, sources)
        mergeable = merging.try_out(defaults.defaults)
        mistakes += merging.mistakes
        return loader._compose_config_from_defaults_list(mergeable, repository)


def _tell_hydra(cfg: DictConfig, config_name: str, overrides: list[Override], choices: dict[str, str | None]) -> None:
    """What Hydra writes down about the composition, to which interpolations may refer."""
    own = [override for override in overrides if not override.is_hydra_override()]
    with open_dict(cfg.hydra):
        cfg.hydra.runtime.choices.update(choices)
        cfg.hydra.runtime.version, cfg.hydra.runtime.cwd = hydra.__version__, os.getcwd()
        cfg.hydra.overrides.task = [override.input_line for override in own]
        cfg.hydra.overrides.hydra = [override.input_line for override in overrides if override.is_hydra_override()]
        cfg.hydra.job.config_name = config_name
        style = cfg.hydra.job.config.override_dirname
        cfg.hydra.job.override_dirname = get_overrides_dirname(own, style.exclude_keys, style.item_sep, style.kv_sep)


def _choose(repository: CachingConfigRepository, config_name: str, repair: DefaultsRepair) -> DefaultsList | None:
    """The defaults list, after its mistakes have been repaired; None if they cannot be."""
    for _ in range(LIMIT):
        try:
            return create_defaults_list(repository, config_name, repair.overrides, prepend_hydra=True, skip_missing=False)
        except REFUSALS as error:
            if not repair.repair(error):
                if not repair.mistakes:
                    repair.mistakes.append(Mistake("MM900", config_name, str(error).partition("\nConfig search path")[0]))
                return None
    return None
