"""Building a task from a checked configuration and a table of objects; names are not looked up anywhere else."""

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import OmegaConf

from mmkit.archive.config_rules import GET_OBJECT, join
from mmkit.errors import MMKitError, RefusedError


_KEYWORDS = ("_target_", "_partial_", "_recursive_", "_args_", "_convert_")


def construct(value: Any, objects: Mapping[str, Callable[..., Any]], key: str = "") -> Any:
    """Build what a configuration describes, as ``hydra.utils.instantiate`` does with ``_convert_="object"``.

    Args:
        value: Plain data that the rules of :mod:`mmkit.archive.config_rules` allow.
        objects: What every name in it stands for.
        key: Where it stands, for errors.

    Raises:
        RefusedError: If a class or function does not take what is given.
    """
    if isinstance(value, list):
        return [construct(item, objects, join(key, index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "_target_" not in value:
        return {name: construct(item, objects, join(key, name)) for name, item in value.items()}
    if value["_target_"] == GET_OBJECT:
        return objects[value["path"]]
    return _call(value, objects, key)


def _call(node: dict[str, Any], objects: Mapping[str, Callable[..., Any]], key: str) -> Any:
    arguments = {name: item for name, item in node.items() if name not in _KEYWORDS}
    positional = node.get("_args_", [])
    if node.get("_recursive_", True):
        arguments = {name: construct(item, objects, join(key, name)) for name, item in arguments.items()}
        positional = construct(positional, objects, join(key, "_args_"))
    if node.get("_convert_") in ("none", "partial"):
        arguments = {name: _as_config(item) for name, item in arguments.items()}
    target = objects[node["_target_"]]
    if node.get("_partial_", False):
        return functools.partial(target, *positional, **arguments)
    try:
        return target(*copy.copy(positional), **arguments)
    except (MMKitError, ImportError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise RefusedError(f"{key or 'the task'} cannot be built by {node['_target_']}: {reason}") from error


def _as_config(value: Any) -> Any:
    return OmegaConf.create(value, flags={"allow_objects": True}) if isinstance(value, dict | list) else value
