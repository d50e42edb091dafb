"""What one registration says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One option of a config group, as its registration is written.

    Attributes:
        group: Config group, e.g. ``modules/encoders``.
        name: Name of the option.
        target: Dotted path of the class or function, as it is named where it is registered.
        values: Arguments that the registration sets.
        partial: ``zen_partial`` of the registration.
        package: Package of the option, as in Hydra.
        provider: Who provides it, as in Hydra.
        file: File of the registration.
        line: Its line.
        module: The module that registers it when it is imported.
        convert: ``_convert_``.
        recursive: ``_recursive_``.
        supplied: For tables: the arguments that the caller of the partial passes; others without a default become ``???``.
        unreadable: Why only importing tells what it holds; empty if its source does.
    """

    group: str
    name: str
    target: str
    values: Mapping[str, Any] = field(hash=False)
    partial: bool | None
    package: str | None
    provider: str | None
    file: str
    line: int
    module: str
    convert: str | None = "object"
    recursive: bool | None = None
    supplied: tuple[str, ...] | None = None
    unreadable: str = ""


@dataclass(frozen=True)
class Problem:
    """Why a module has to be imported to know what it registers.

    Attributes:
        group: The group that is concerned; None if it could be any.
        reason: Why, with module and line.
    """

    group: str | None
    reason: str


@dataclass(frozen=True)
class Registrations:
    """All that importing a root module would register.

    Attributes:
        entries: What can be read.
        problems: What cannot.
        conditional: Packages that are imported under a condition, so that their absence or presence counts.
    """

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    conditional: tuple[str, ...] = ()
