"""A configuration composed as a run composes it, without running: what previews, completion and checks look at.

Hydra's own loader does the work, so that what is shown is what runs; ``hydra.compose`` would do too, but keeps global state and
does not say where Hydra looks. hydra-core is pinned below 1.4, hence its internals stay what they are.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.default_element import DefaultsTreeNode, ResultDefault
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

import mmkit.conf.base  # noqa: F401  registers base_config
from mmkit.conf.run_version import VERSION_VARIABLE


@dataclass
class Composed:
    """A composed configuration.

    Attributes:
        cfg: What a run is given. Interpolations are as written; ``resolving()`` makes those of Hydra resolve too.
        hydra_config: What Hydra's ``HydraConfig`` holds in this run.
        choices: The option of every group in use, e.g. ``{"modules/losses@task.loss": "ContrastiveLoss"}``.
        loader: Hydra's loader, which knows the groups and their options (``loader.get_group_options("task")``).
        config_name: What was composed.
        overrides: With which overrides.
    """

    cfg: DictConfig
    hydra_config: DictConfig
    choices: dict[str, str | None]
    loader: ConfigLoaderImpl
    config_name: str
    overrides: list[str]

    @property
    def hydra(self) -> DictConfig:
        """Hydra's settings for this run."""
        return self.hydra_config.hydra

    @contextmanager
    def resolving(self) -> Iterator[DictConfig]:
        """Within this, ``${hydra:…}`` of ``cfg`` resolve as in a run; no trace of it is left behind.

        The directory of the run is ``exp_dir/name/VERSION``, unless its version is given.
        """
        with _installed(self.hydra_config), environment():
            yield self.cfg

    def defaults(self) -> list[ResultDefault]:
        """The configs in the order in which they are merged, each with its ``config_path``, ``package`` and ``parent``."""
        return self._defaults_list().defaults

    def defaults_tree(self) -> DefaultsTreeNode:
        """The defaults lists as a tree."""
        return self._defaults_list().defaults_tree

    def _defaults_list(self) -> Any:
        return self.loader.compute_defaults_list(self.config_name, self.overrides, RunMode.RUN)


def compose(
    config_name: str = "base_config",
    overrides: Sequence[str] = (),
    search_path: Sequence[str] = (),
    config_dir: str | None = None,
    run_mode: RunMode = RunMode.RUN,
) -> Composed:
    """Compose a configuration.

    Args:
        config_name: The primary config, e.g. ``base_config``.
        overrides: As typed, e.g. ``+experiment=emoji_clip``.
        search_path: Where configs are looked for besides the store, as ``file://`` or ``pkg://`` entries; these are imported.
        config_dir: A folder that is looked into besides, as with ``--config-dir``.
        run_mode: ``MULTIRUN`` lets overrides be sweeps, which are left out, and group choices be missing.

    Raises:
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException, yaml.YAMLError, ValueError: As Hydra does.
    """
    loader = loader_of(search_path, config_dir)
    full = loader.load_configuration(config_name, list(overrides), run_mode)
    return composed_of(full, loader, config_name, overrides)


def composed_of(full: DictConfig, loader: ConfigLoaderImpl, config_name: str, overrides: Sequence[str]) -> Composed:
    """Take what a loader has composed apart; ``full`` is not usable any more."""
    _name_output_dir(full)
    choices = {str(key): value for key, value in full.hydra.runtime.choices.items()}
    hydra = OmegaConf.masked_copy(full, "hydra")
    hydra.hydra._set_parent(full)  # as Hydra does: its own interpolations may look at the rest
    with flag_override(full, ["struct", "readonly"], [False, False]):
        full.pop("hydra")
    return Composed(full, hydra, choices, loader, config_name, list(overrides))


def loader_of(search_path: Sequence[str] = (), config_dir: str | None = None) -> ConfigLoaderImpl:
    """Hydra's loader, which looks where ``mmkit_run`` looks."""
    version.setbase("1.3")
    setup_globals()
    return ConfigLoaderImpl(search_path_of(search_path, config_dir))


def search_path_of(entries: Sequence[str] = (), config_dir: str | None = None) -> ConfigSearchPathImpl:
    """The places in the order of ``hydra.main``: Hydra's configs, those of plugins and of mmkit, ``--config-dir``, the store."""
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    for plugin in Plugins.instance().discover(SearchPathPlugin):
        plugin().manipulate_search_path(path)  # pyright: ignore[reportAttributeAccessIssue]
    known = {element.path for element in path.get_path()}
    for entry in entries:
        if entry not in known:
            path.append("mmkit", entry)
    path.append("schema", "structured://")
    if config_dir is not None:
        path.prepend("command-line", f"file://{os.path.abspath(config_dir)}", anchor=SearchPathQuery(provider="schema"))
    return path


@contextmanager
def _installed(hydra_config: DictConfig) -> Iterator[None]:
    """Let ``${hydra:…}`` resolve to these settings for a while."""
    instance, before = HydraConfig.instance(), HydraConfig.instance().cfg
    instance.cfg = hydra_config  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        instance.cfg = before


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Environment variables for a while; then all are as they were, also those that resolvers have set."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        _restore(before)


def _restore(variables: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in variables]:
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _name_output_dir(full: DictConfig) -> None:
    """Set what Hydra sets when a run starts; a directory that cannot be named is told by the checks."""
    version_name = os.environ.get(VERSION_VARIABLE) or "VERSION"
    try:
        with environment(**{VERSION_VARIABLE: version_name}):
            directory = str(OmegaConf.select(full, "hydra.run.dir"))
    except Exception:  # whatever a resolver of the user's raises
        return
    with flag_override(full.hydra.runtime, ["struct", "readonly"], [False, False]):
        full.hydra.runtime.output_dir = os.path.abspath(directory)
