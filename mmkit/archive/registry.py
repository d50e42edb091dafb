"""Which code a configuration may name: exactly what is registered with ``external_store``.

Names are compared whole: a rule on prefixes would admit ``torch.utils.data.dataloader.os.system``. Objects are taken down when
their entries are first read; what a name leads to later must be the same object.
"""

import dataclasses
import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hydra.utils import get_object

from mmkit.archive.config_rules import GET_OBJECT
from mmkit.conf.base import CollatorConf, DataLoaderConf
from mmkit.conf.groups import GROUP_MODULES, fill_group
from mmkit.conf.store import external_store
from mmkit.errors import RefusedError


# A task holds no callback, logger or recipe, and these write files and open connections.
_NOT_IN_TASKS = ("trainer", "hydra", "data")
# Part of the base configuration, used by evaluation tasks that read data of their own.
_BASE = (CollatorConf, DataLoaderConf)

_taken: dict[int, tuple[Any, dict[str, Any]]] = {}  # the entry itself keeps its id from being used again


def registered_objects() -> dict[str, Any]:
    """Everything that a task's configuration may name, by dotted name. Imports the modules of mmkit's own groups."""
    for group in GROUP_MODULES:
        if _is_for_tasks(group):
            fill_group(group)
    nodes = [entry["node"] for entry in external_store if _is_for_tasks(str(entry["group"]))]
    return {name: obj for node in (*_BASE, *nodes) for name, obj in _objects_of(node).items()}


def allowed_objects(found: Mapping[str, list[str]], trust: Collection[str]) -> dict[str, Any]:
    """The objects that a configuration names.

    Args:
        found: Dotted names and the keys where they stand.
        trust: Further names that the user allows.

    Raises:
        RefusedError: If a name is neither registered nor trusted, or leads to another object than the registered one.
    """
    registered = registered_objects()
    unknown = [name for name in found if name not in registered and name not in trust]
    if unknown:
        raise RefusedError(" ".join(_explain(name, found[name]) for name in unknown[:5]))
    objects = {}
    for name in found:
        objects[name] = obj = _resolve(name)
        if name not in trust and obj is not registered[name]:
            raise RefusedError(f"{name} is not the object that was registered under this name; something has replaced it.")
        if not callable(obj) or inspect.ismodule(obj):
            raise RefusedError(f"{name} is a {type(obj).__name__}; only classes and functions build something.")
    return objects


def registered_name(name: str, registered: Mapping[str, Any]) -> str:
    """The registered name of what ``name`` leads to (``torch.nn.LayerNorm`` is registered where it is defined).

    A name whose object is not registered is returned as it is.
    """
    if name in registered:
        return name
    obj = _resolve(name)
    return next((other for other, candidate in registered.items() if candidate is obj), name)


def _is_for_tasks(group: str) -> bool:
    return group.split("/")[0] not in _NOT_IN_TASKS


def _objects_of(node: Any) -> dict[str, Any]:
    if id(node) not in _taken:
        _taken[id(node)] = node, {name: get_object(name) for name in _names(node)}
    return _taken[id(node)][1]


def _names(value: Any) -> Iterator[str]:
    """Dotted names of code in a registered entry, its nested entries and hydra-zen's additions included."""
    items = _items(value)
    if isinstance(items.get("_target_"), str):
        if items["_target_"] == GET_OBJECT:
            yield items["path"]
        elif not items["_target_"].startswith("hydra_zen."):
            yield items["_target_"]
        elif isinstance(items.get("_zen_target"), str):
            yield items["_zen_target"]
    for item in items.values():
        yield from _names(item)


def _items(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value):
        return {field.name: _field_value(value, field) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    return {str(index): item for index, item in enumerate(value)} if isinstance(value, list | tuple) else {}


def _field_value(node: Any, field: dataclasses.Field) -> Any:
    if not isinstance(node, type):
        return getattr(node, field.name)
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _resolve(name: str) -> Any:
    try:
        return get_object(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RefusedError(f"{name} cannot be imported: {error}") from error


def _explain(name: str, keys: list[str]) -> str:
    parts = name.split(".")
    project = ".".join([*parts[:2], "configs"]) if parts[0] == "projects" and len(parts) > 2 else ""
    how = f"`import {project}`" if project else "import the project that registers it"
    return f"{keys[0]} names {name}, which is not registered. If you trust it: {how} first, or pass trust=[{name!r}]."
