"""The configuration of an entry, from source, or else by importing the entry's module."""

from importlib import import_module

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import DictConfig

from mmkit.conf.index.entries import Entry
from mmkit.conf.index.nodes import make_node
from mmkit.conf.index.signatures import signature
from mmkit.conf.reading.errors import NoSuchModule, NoSuchName, Unreadable


def node(entry: Entry) -> DictConfig:
    """The typed configuration of an entry, equal to what ``hydra_zen.builds`` gives; imports its module if it has to.

    Raises:
        LookupError: Importing the module does not register it.
    """
    found = option(entry)
    if found is None:
        raise LookupError(f"Importing {entry.module} does not register {entry.group}/{entry.name}.")
    return found.node


def option(entry: Entry) -> ConfigNode | None:
    """An entry as Hydra's store keeps it; None if importing its module does not register it."""
    try:
        made = make_node(entry, signature(entry.target))
    except (Unreadable, NoSuchModule, NoSuchName):
        return _imported(entry)
    return ConfigNode(f"{entry.name}.yaml", made, entry.group, entry.package, entry.provider)


def _imported(entry: Entry) -> ConfigNode | None:
    if entry.module:
        import_module(entry.module)
    options = ConfigStore.instance().repo
    for part in entry.group.split("/"):
        options = options.get(part, {})
    return options.get(f"{entry.name}.yaml")
