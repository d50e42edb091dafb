"""Hidden transformations and losses from their configuration."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from mmkit.errors import first_line
from mmkit.hiddens.errors import ArgumentsError, HiddensError, UnknownNameError, did_you_mean, listed
from mmkit.hiddens.registry import BASES, registered


_MODULE_DICT = nn.ModuleDict()
_PLURAL = {"transform": "transforms", "loss": "losses"}
_OF_HYDRA = ("_target_", "_convert_", "_recursive_")


def build_parts(kind: str, config: Any) -> dict[str, Any]:
    """The transformations, or the losses, of a pipeline.

    Args:
        kind: ``"transform"`` or ``"loss"``.
        config: Name -> ``{cls_name: …, **arguments}`` or the module itself, as a dict or a list of dicts; those set to None are
            left out.

    Returns:
        Modules by name, in the order in which they are written.
    """
    parts = {}
    for name, spec in _named_specs(kind, config):
        key = _key(kind, name)
        if name in parts:
            raise HiddensError(f"{key} stands there twice. Give one of them another name.")
        if spec is not None:
            parts[name] = _part(kind, key, spec)
    return parts


def _named_specs(kind: str, config: Any) -> Iterator[tuple[str, Any]]:
    groups = [config] if isinstance(config, Mapping) else [] if config is None else config
    if not isinstance(groups, Sequence) or not all(isinstance(group, Mapping) for group in groups):
        raise ArgumentsError(f"hiddens.{kind}={config!r}: it is a dict of {_PLURAL[kind]} by name, or a list of such dicts.")
    return (item for group in groups for item in group.items())


def _key(kind: str, name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name) or hasattr(_MODULE_DICT, name):
        reason = "torch's ModuleDict uses it" if hasattr(_MODULE_DICT, str(name)) else "only letters, digits and _ are possible"
        raise HiddensError(f"hiddens.{kind}: {name!r} cannot be the name of a {kind} ({reason}). Choose another one.")
    return f"hiddens.{kind}.{name}"


def _part(kind: str, key: str, spec: Any) -> nn.Module:
    part = spec
    if isinstance(spec, Mapping):
        part = _from_target(key, spec) if "_target_" in spec else _from_registry(kind, key, spec)
    if not isinstance(part, BASES[kind]):
        hint = f" A {kind} has a name of its own: hiddens.{kind}.NAME.cls_name=…" if key.endswith(".cls_name") else ""
        given = repr(part) if isinstance(part, str | int | float | list) else f"a {type(part).__name__}"
        raise ArgumentsError(
            f"{key} is {given}; it must be a dict with cls_name, or extend mmkit.hiddens.{BASES[kind].__name__}.{hint}"
        )
    return part


def _from_target(key: str, spec: Mapping[str, Any]) -> Any:
    target = spec["_target_"]
    if "cls_name" in spec:
        raise ArgumentsError(f"{key} has both _target_={target!r} and cls_name={spec['cls_name']!r}. Keep one of them.")
    try:
        make = get_object(target) if isinstance(target, str) else target
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentsError(f"{key}._target_={target!r} cannot be imported: {first_line(error)}") from error
    if not {"_args_", "_partial_"} & set(spec):
        _check_arguments(f"{key} ({target})", make, {name: each for name, each in spec.items() if name not in _OF_HYDRA})
    try:
        return instantiate(dict(spec), _convert_="object")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, HiddensError):
            raise type(cause)(f"{key} ({target}): {cause}") from error
        if isinstance(cause, ValueError):
            raise HiddensError(f"{key} ({target}): {cause}") from error
        raise


def _from_registry(kind: str, key: str, spec: Mapping[str, Any]) -> Any:
    arguments = dict(spec)
    if "cls_name" not in arguments:
        close = did_you_mean("cls_name", arguments)
        close = close.replace("Did you mean", "Is that").replace("?", "") + " meant to be it?" if close else ""
        raise UnknownNameError(
            f"{key} has no cls_name, the name of a registered hidden {kind}; it has: {listed(arguments)}.{close}"
        )
    cls_name = arguments.pop("cls_name")
    entry = registered(kind, cls_name, f"{key}.cls_name")
    where = f"{key} ({cls_name})"
    make = get_object(entry["_target_"])
    values = _preset(entry) | _converted(key, entry, arguments)
    _check_arguments(where, make, values)
    try:
        return make(**values)
    except HiddensError as error:
        raise type(error)(f"{where}: {error}") from error
    except ValueError as error:
        raise HiddensError(f"{where}: {error}") from error


def _preset(entry: DictConfig) -> dict[str, Any]:
    """The arguments that a registration sets, and the defaults of the signature."""
    names = [str(name) for name in entry if not str(name).startswith("_") and not OmegaConf.is_missing(entry, name)]
    return instantiate({name: OmegaConf.to_container(entry)[name] for name in names}, _convert_="object")  # pyright: ignore


def _converted(key: str, entry: DictConfig, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as their types say, as Hydra does it with a component of a defaults list."""
    typed, values = entry.copy(), dict(arguments)
    known = list(entry.keys())  # `in` does not find those without a default
    for name, value in arguments.items():
        if name in known and isinstance(value, str | int | float | list | tuple | dict | None):
            try:
                typed[name] = value
            except OmegaConfBaseException as error:
                raise ArgumentsError(f"{key}.{name}={value!r}: {first_line(error)}") from error
            values[name] = OmegaConf.to_container(typed)[name]  # pyright: ignore
    return values


def _check_arguments(where: str, make: Callable[..., Any], values: Mapping[str, Any]) -> None:
    if inspect.isabstract(make):
        missing = listed(sorted(make.__abstractmethods__))  # pyright: ignore[reportAttributeAccessIssue]
        raise ArgumentsError(f"{where}: {make.__name__} is abstract; it must define {missing}.")
    signature = inspect.signature(make)
    try:
        signature.bind(**values)
    except TypeError as error:
        takes = list(signature.parameters)
        unknown = [name for name in values if name not in takes]
        what = f"it takes no {unknown[0]!r}.{did_you_mean(unknown[0], takes)}" if unknown else f"{error}."
        raise ArgumentsError(f"{where}: {what} It takes: {listed(takes)}.") from error
