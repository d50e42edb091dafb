"""What is known about a key of the configuration, from the documentation of the class that reads it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mmkit.cli.documentation import arguments_of, introduction, readable_signature
from mmkit.cli.show import default_of
from mmkit.cli.usage import first_sentence
from mmkit.cli.yaml_text import flow
from mmkit.conf.index import signature
from mmkit.conf.reading import Instance, Parameter, Signature
from mmkit.conf.reading.errors import close_names
from mmkit.errors import UsageError


BASE = "mmkit.conf.base"
_HIDDEN = ("defaults", "hydra")


@dataclass
class KeyDoc:
    """What is known about a key.

    Attributes:
        key: The key.
        type: Its type as it is declared; empty if it is not.
        default: Its default as YAML; empty if it has none.
        doc: What it means; empty if nobody says.
        read_by: Dotted name of what reads it.
        defined: File and line of that.
        keys: Keys below it, each with the first sentence of its own meaning.
    """

    key: str
    type: str = ""
    default: str = ""
    doc: str = ""
    read_by: str = ""
    defined: str = ""
    keys: dict[str, str] = field(default_factory=dict)


def of_base(key: str) -> KeyDoc | None:
    """A key of the base configuration, read from source; None if an experiment has to tell.

    Raises:
        UsageError: The base configuration says that there is no such key.
    """
    owner = signature(f"{BASE}.MMKitConf")
    parts = key.split(".")
    for index, part in enumerate(parts):
        parameter = next((each for each in owner.parameters if each.name == part and part not in _HIDDEN), None)
        if parameter is None:
            raise unknown(parts[:index], part, _names(owner))
        below = _class_of(parameter)
        if index == len(parts) - 1:
            return _described(key, owner, parameter, below)
        if below is None:
            return None
        owner = below
    return None


def described(key: str, owner: Signature, name: str) -> KeyDoc:
    """What is known about an argument of a class or function."""
    parameter = next((each for each in owner.parameters if each.name == name and each.nameable), None)
    if parameter is None:
        return KeyDoc(key, read_by=owner.target, defined=f"{owner.file}:{owner.line}")
    return _described(key, owner, parameter, None)


def _described(key: str, owner: Signature, parameter: Parameter, below: Signature | None) -> KeyDoc:
    doc, reader = _doc(owner, parameter.name)
    found = KeyDoc(key, parameter.annotation, doc=doc, read_by=reader.target, defined=f"{reader.file}:{reader.line}")
    if below is not None:
        found.type = ""
        found.doc = found.doc or introduction(below.doc)
        found.keys = {name: first_sentence(_doc(below, name)[0]) for name in _names(below)}
    elif not parameter.required:
        found.default = flow(default_of(parameter.default))
    return found


def _doc(owner: Signature, name: str) -> tuple[str, Signature]:
    """What is said about a key, and by whom: the class itself, what it configures, or what its documentation names."""
    for reader in (owner, *_configured(owner)):
        text = arguments_of(reader).get(name)
        if text:
            return text, reader
    return "", next(_configured(owner), owner)


def _configured(owner: Signature) -> Iterator[Signature]:
    target = next((each.default for each in owner.parameters if each.name == "_target_"), None)
    named = re.findall(r"``([\w.]+)``", owner.doc.partition("\n\n")[0]) if owner.target.startswith(f"{BASE}.") else []
    for dotted in ([target] if isinstance(target, str) else []) + named:
        found = readable_signature({"ExponentialMovingAverage": "mmkit.trainer.ema.ExponentialMovingAverage"}.get(dotted, dotted))
        if found is not None:
            yield found


def _class_of(parameter: Parameter) -> Signature | None:
    """The class of a part of the base configuration."""
    if isinstance(parameter.default, Instance) and parameter.default.target.startswith(BASE):
        return signature(parameter.default.target)
    return signature(f"{BASE}.{parameter.annotation}") if parameter.annotation.endswith("Conf") else None


def _names(owner: Signature) -> list[str]:
    return [each.name for each in owner.parameters if not each.name.startswith("_") and each.name not in _HIDDEN]


def unknown(above: list[str], name: str, known: list[str]) -> UsageError:
    """The error for a key that is not there."""
    place = ".".join(above)
    close = close_names(name, known)
    hint = f"Did you mean {'.'.join([*above, close[0]])}?" if close else f"There are: {', '.join(known) or 'none'}."
    return UsageError(f"{place or 'The configuration'} has no key {name!r}. {hint}")
