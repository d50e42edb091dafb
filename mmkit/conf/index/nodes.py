"""The configuration of an entry, with all types, as ``hydra_zen.builds`` makes it; made without hydra-zen and the component."""

import ast
import dataclasses
import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mmkit.conf.index.entries import Entry
from mmkit.conf.reading.errors import Unreadable
from mmkit.conf.reading.results import ObjectPath, Parameter, Signature


_TYPES: dict[str, Any] = {"Any": Any, "int": int, "float": float, "bool": bool, "str": str, "bytes": bytes, "None": None}
_TYPES |= {"list": list, "dict": dict, "tuple": tuple, "Path": Path, "Enum": enum.Enum, "Optional": Optional}


@dataclasses.dataclass(unsafe_hash=True)
class Just:
    """A class or function itself as a value; what hydra-zen writes for one."""

    path: str
    _target_: str = dataclasses.field(default="hydra_zen.funcs.get_obj", init=False, repr=False)


def make_node(entry: Entry, signature: Signature) -> DictConfig:
    """The typed configuration of an entry.

    Raises:
        Unreadable: Only importing the entry's module would tell.
    """
    if entry.unreadable:
        raise Unreadable(entry.unreadable)
    fields = [*_header(entry, signature), *_arguments(entry, signature)]
    name = signature.target.rpartition(".")[2]
    partially = "PartialBuilds_" if entry.partial else "Builds_"
    made = dataclasses.make_dataclass(partially + name, fields, unsafe_hash=True)
    made.__module__ = "types"  # as hydra-zen's: pickled by value, not by name
    try:
        return OmegaConf.structured(made)
    except (OmegaConfBaseException, ValueError, TypeError) as error:  # importing it raises the same
        raise Unreadable(f"{entry.group}/{entry.name}: {error}") from error


def _header(entry: Entry, signature: Signature) -> Iterator[tuple[str, Any, Any]]:
    settings = {"_target_": signature.target, "_partial_": entry.partial}
    for key, value in {**settings, "_recursive_": entry.recursive, "_convert_": entry.convert}.items():
        if value is not None:
            yield key, type(value), dataclasses.field(default=value, init=False)


def _arguments(entry: Entry, signature: Signature) -> list[tuple[Any, ...]]:
    """Fields without a default first, then those with one, each in the order of the signature; then what ``**kwargs`` takes."""
    values = {**_shown_as_missing(entry, signature), **entry.values}
    nameable = [each for each in signature.parameters if each.nameable]
    names = {each.name for each in nameable}
    others = {name: value for name, value in values.items() if name not in names}
    if others and not (signature.takes_any_keyword and not others.keys() & {each.name for each in signature.parameters}):
        raise Unreadable(f"{signature.target} takes no {', '.join(others)}")
    required = [each for each in nameable if each.required and each.name not in values]
    given = [each for each in nameable if not each.required or each.name in values]
    return [
        *((each.name, _type(each, each.default)) for each in required if not entry.partial),
        *(_with_value(each.name, _type(each, value), value) for each in given for value in [values.get(each.name, each.default)]),
        *(_with_value(name, Any, value) for name, value in others.items()),
    ]


def _shown_as_missing(entry: Entry, signature: Signature) -> dict[str, str]:
    if entry.supplied is None:
        return {}
    fixed = [each for each in signature.parameters if each.required and each.kind not in ("var_positional", "var_keyword")]
    return {each.name: MISSING for each in fixed if each.name not in entry.supplied}


def _type(parameter: Parameter, value: Any) -> Any:
    text = parameter.type_for(value)
    if isinstance(text, Unreadable):
        raise text
    return type_of(text)


def type_of(text: str) -> Any:
    """The type that a text such as ``Optional[dict[str, Any]]`` names.

    Raises:
        Unreadable: It names a class, which would have to be imported.
    """
    if text in _TYPES:
        return _TYPES[text]
    return _type_of_node(ast.parse(text, mode="eval").body)


def _type_of_node(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in _TYPES:
            return _TYPES[name]
        case ast.Constant(value=value) if value is ...:
            return value
        case ast.Subscript(value=container, slice=ast.Tuple(elts=inside)):
            return _type_of_node(container)[tuple(_type_of_node(each) for each in inside)]
        case ast.Subscript(value=container, slice=inside):
            return _type_of_node(container)[_type_of_node(inside)]
    raise Unreadable(f"the type {ast.unparse(node)}")


def _with_value(name: str, type_: Any, value: Any) -> tuple[str, Any, Any]:
    value = _plain(value)
    if isinstance(value, list | dict):
        return name, type_, dataclasses.field(default_factory=lambda: value.copy())
    return name, type_, dataclasses.field(default=value)


def _plain(value: Any) -> Any:
    """A value as a configuration holds it."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return type(value)(_plain(each) for each in value)
    if type(value) is dict and all(type(key) in (bool, int, float, str) for key in value):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, ObjectPath):
        return Just(value.path)
    raise value if isinstance(value, Unreadable) else Unreadable(f"a value of type {type(value).__name__}")
