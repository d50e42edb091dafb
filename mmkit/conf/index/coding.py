"""Values, entries and signatures as JSON, and back. What was not written by this is refused."""

from pathlib import Path
from typing import Any

from mmkit.conf.index.entries import Entry, Problem, Registrations
from mmkit.conf.reading.errors import Unreadable
from mmkit.conf.reading.results import REQUIRED, EnumMember, Instance, ObjectPath, Parameter, Signature


_TEXT = (str,)
_OPTIONAL_TEXT = (str, type(None))
_OPTIONAL_FLAG = (bool, type(None))
_KINDS = ("positional_only", "positional_or_keyword", "var_positional", "keyword_only", "var_keyword")
# Fields of an entry, in the order in which they are written, with the types that they may have.
_ENTRY: dict[str, tuple[type, ...]] = {"group": _TEXT, "name": _TEXT, "target": _TEXT, "partial": _OPTIONAL_FLAG}
_ENTRY |= {"package": _OPTIONAL_TEXT, "provider": _OPTIONAL_TEXT, "file": _TEXT, "line": (int,), "module": _TEXT}
_ENTRY |= {"convert": _OPTIONAL_TEXT, "recursive": _OPTIONAL_FLAG, "unreadable": _TEXT}


class Broken(ValueError):  # noqa: N818
    """This is not what was written."""


def encode_value(value: Any) -> Any:
    """A value as JSON: simple ones as they are, others as a list that begins with their kind."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return [type(value).__name__, *(encode_value(each) for each in value)]
    if type(value) is dict:
        return ["dict", *([encode_value(key), encode_value(each)] for key, each in value.items())]
    match value:
        case ObjectPath():
            return ["object", value.path]
        case EnumMember():
            return ["enum", value.enum, value.name, encode_value(value.value)]
        case Instance():
            return ["instance", value.target, encode_value(dict(value.arguments))]
        case Unreadable():
            return ["unreadable", value.reason]
    return ["required"] if value is REQUIRED else ["unreadable", f"a value of type {type(value).__name__}"]


def decode_value(coded: Any) -> Any:
    """The value; an object that only importing makes is again ``Unreadable``, ``ObjectPath``, ``EnumMember`` or ``Instance``."""
    match coded:
        case None | bool() | int() | float() | str():
            return coded
        case ["list", *values]:
            return [decode_value(each) for each in values]
        case ["tuple", *values]:
            return tuple(decode_value(each) for each in values)
        case ["dict", *items] if all(isinstance(item, list) and len(item) == 2 for item in items):
            return {_key(key): decode_value(value) for key, value in items}
        case ["object", str(path)]:
            return ObjectPath(path)
        case ["enum", str(path), str(name), value]:
            return EnumMember(path, name, decode_value(value))
        case ["instance", str(path), ["dict", *_] as arguments]:
            return Instance(path, decode_value(arguments))
        case ["unreadable", str(reason)]:
            return Unreadable(reason)
        case ["required"]:
            return REQUIRED
    raise Broken("a value")


def _key(coded: Any) -> Any:
    if isinstance(coded, list | dict):
        raise Broken("a key")
    return coded


def encode_registrations(found: Registrations) -> Any:
    """All registrations of a root as JSON."""
    return {
        "entries": [
            [*(getattr(each, key) for key in _ENTRY), encode_value(dict(each.values)), encode_value(each.supplied)]
            for each in found.entries
        ],
        "problems": [[each.group, each.reason] for each in found.problems],
        "conditional": list(found.conditional),
    }


def decode_registrations(coded: Any) -> Registrations:
    """Raises Broken."""
    match coded:
        case {"entries": [*entries], "problems": [*problems], "conditional": [*names]} if all(
            type(each) is str for each in names
        ):
            return Registrations(tuple(map(_entry, entries)), tuple(map(_problem, problems)), tuple(names))
    raise Broken("registrations")


def _entry(coded: Any) -> Entry:
    match coded:
        case [*simple, values, supplied] if len(simple) == len(_ENTRY):
            if any(type(each) not in types for each, types in zip(simple, _ENTRY.values(), strict=True)):
                raise Broken("an entry")
            values, supplied = decode_value(values), decode_value(supplied)
            if isinstance(values, dict) and all(isinstance(key, str) for key in values) and isinstance(supplied, tuple | None):
                return Entry(**dict(zip(_ENTRY, simple, strict=True)), values=values, supplied=supplied)
    raise Broken("an entry")


def _problem(coded: Any) -> Problem:
    match coded:
        case [None | str() as group, str(reason)]:
            return Problem(group, reason)
    raise Broken("a problem")


def encode_signature(signature: Signature) -> Any:
    """A signature as JSON; its sources are with the stamps."""
    return {
        "target": signature.target,
        "parameters": [_encode_parameter(each) for each in signature.parameters],
        "doc": signature.doc,
        "file": str(signature.file),
        "line": signature.line,
        "is_class": signature.is_class,
    }


def _encode_parameter(each: Parameter) -> list[Any]:
    return [
        each.name, _KINDS.index(each.kind), each.annotation, encode_value(each.declared), encode_value(each.default),
        each.widens_to_optional,
    ]  # fmt: skip


def decode_signature(coded: Any, sources: tuple[Path, ...]) -> Signature:
    """Raises Broken."""
    match coded:
        case {"target": str(target), "parameters": [*parameters], "doc": str(doc), "file": str(file), "line": int(line),
              "is_class": bool(is_class)}:  # fmt: skip
            return Signature(target, tuple(map(_parameter, parameters)), doc, Path(file), line, is_class, sources)
    raise Broken("a signature")


def _parameter(coded: Any) -> Parameter:
    match coded:
        case [str(name), int(kind), str(annotation), declared, default, bool(widens)] if 0 <= kind < len(_KINDS):
            declared = decode_value(declared)
            if isinstance(declared, str | Unreadable):
                return Parameter(name, _KINDS[kind], annotation, declared, decode_value(default), widens)
    raise Broken("a parameter")
