"""Hydra's config store, which knows what modules would register without importing them."""

import sys
from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.singleton import Singleton
from hydra.plugins.config_source import ConfigLoadError

from mmkit.conf import index


class LazyConfigStore(ConfigStore):
    """Serves what is registered in this process, and besides that what is read from source.

    ``repo`` holds the former, which wins. An entry that is read is made when it is composed; hydra-zen finds no such entry in
    ``repo``, so that the module can still be imported, and registers the same.

    Hydra copies the store, through its sources, for every composition and for every group that ``--help`` lists. Entries
    registered meanwhile would be missing from such a copy, so copies are the store itself; Hydra copies what it loads from it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[index.Entry, ConfigNode | None] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "LazyConfigStore":
        return self

    def _open(self, path: str) -> Any:
        path = path.strip("/")
        group, _, name = path.rpartition("/")
        if path.endswith(".yaml"):
            return self._option(group, name)
        registered = super()._open(path)
        if registered is not None and not isinstance(registered, dict):
            return registered
        return {**self._known(path), **(registered or {})} or None

    def _load(self, config_path: str) -> ConfigNode:
        group, _, name = config_path.strip("/").rpartition("/")
        found = self._option(group, name)
        if found is None:
            raise ConfigLoadError(f"There is no {config_path}.")
        return found

    def _option(self, group: str, name: str) -> ConfigNode | None:
        registered = super()._open(f"{group}/{name}")
        if registered is None and group:
            index.fill_unreadable(group)
            registered = super()._open(f"{group}/{name}")
        if registered is not None:
            return registered
        entry = next((entry for entry in _not_imported(group) if f"{entry.name}.yaml" == name), None)
        if entry is not None and entry not in self._made:
            self._made[entry] = index.option(entry)
        return self._made.get(entry) if entry is not None else None

    def _known(self, path: str) -> dict[str, Any]:
        """What source tells about a path: its options and the groups below it."""
        if path:
            index.fill_unreadable(path)
        prefix = f"{path}/" if path else ""
        below = {group[len(prefix) :].partition("/")[0]: {} for group in index.groups() if group.startswith(prefix)}
        return {**below, **{f"{entry.name}.yaml": entry for entry in _not_imported(path)}}


def _not_imported(group: str) -> list[index.Entry]:
    """Entries whose modules have not been imported; what an imported module has registered, the store holds."""
    return [entry for entry in index.readable(group) if entry.module not in sys.modules]


def install_lazy_store() -> None:
    """Make the lazy store Hydra's store, with all that is in it already."""
    current = ConfigStore.instance()
    if not isinstance(current, LazyConfigStore):
        lazy = LazyConfigStore()
        lazy.repo = current.repo
        state = Singleton.get_state()
        state["instances"][ConfigStore] = lazy
        Singleton.set_state(state)
