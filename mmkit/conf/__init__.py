"""Configuration: the store of components, its groups and the base configuration.

The names load on first use (PEP 562): the store needs hydra-zen, which a preview does without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mmkit.conf.base import MMKitConf
    from mmkit.conf.groups import GROUP_MODULES, fill_group
    from mmkit.conf.store import external_store, register_external_modules

__all__ = ["GROUP_MODULES", "MMKitConf", "external_store", "fill_group", "register_external_modules"]

_HOME = {
    "GROUP_MODULES": "mmkit.conf.groups",
    "MMKitConf": "mmkit.conf.base",
    "external_store": "mmkit.conf.store",
    "fill_group": "mmkit.conf.groups",
    "register_external_modules": "mmkit.conf.store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mmkit.conf' has no attribute {name!r}. It offers: {', '.join(_HOME)}.")
    return getattr(import_module(_HOME[name]), name)
