"""Hydra's config store, filled group by group when it is asked."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton

from mmkit.conf.groups import fill_group


class LazyConfigStore(ConfigStore):
    """Imports the module of a group the first time that something of the group is looked up.

    Hydra copies the store, through its sources, for every composition and for every group that ``--help`` lists. Entries
    registered meanwhile would be missing from such a copy, so copies are the store itself; Hydra copies what it loads from it.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "LazyConfigStore":
        return self

    def _open(self, path: str) -> Any:
        group = path.strip("/")
        fill_group(group.rpartition("/")[0] if group.endswith(".yaml") else group)
        return super()._open(path)


def install_lazy_store() -> None:
    """Make the lazy store Hydra's store, with all that is in it already."""
    current = ConfigStore.instance()
    if not isinstance(current, LazyConfigStore):
        lazy = LazyConfigStore()
        lazy.repo = current.repo
        state = Singleton.get_state()
        state["instances"][ConfigStore] = lazy
        Singleton.set_state(state)
