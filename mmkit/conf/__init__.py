"""Configuration: the store of components, its groups and the base configuration."""

from mmkit.conf.base import MMKitConf
from mmkit.conf.groups import GROUP_MODULES, fill_group
from mmkit.conf.store import external_store, register_external_modules


__all__ = ["GROUP_MODULES", "MMKitConf", "external_store", "fill_group", "register_external_modules"]
