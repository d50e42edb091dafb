"""What reading source gives: parameters, signatures, and stand-ins for values that only importing makes.

Apart from the code that reads, so that whoever has a memo of the results need not import that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mmkit.conf.reading.errors import Unreadable


@dataclass(frozen=True)
class ObjectPath:
    """A function or class itself, which a configuration writes as ``_target_: hydra_zen.funcs.get_obj`` with this ``path``."""

    path: str


@dataclass(frozen=True)
class EnumMember:
    """A member of an enumeration.

    Attributes:
        enum: Dotted path of the enumeration.
        name: The member.
        value: Its value.
    """

    enum: str
    name: str
    value: Any


@dataclass(frozen=True)
class Instance:
    """An object that a configuration writes as ``_target_`` with arguments: an instance of a dataclass.

    Attributes:
        target: Dotted path of the class.
        arguments: The fields that its constructor takes, with their values.
    """

    target: str
    arguments: Mapping[str, Any] = field(hash=False)


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


#: Stands in place of a default where an argument must be given.
REQUIRED = _Required()
Kind = Literal["positional_only", "positional_or_keyword", "var_positional", "keyword_only", "var_keyword"]


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        name: Its name.
        kind: How it is given.
        annotation: Its annotation as it is written; empty if there is none.
        declared: The type that the annotation gives to a configuration, before the default is looked at: ``Any``, ``int``,
            ``Optional[int]``, ``list[str]``, the dotted path of a dataclass or enumeration, ...; :class:`Unreadable` if only
            importing would tell.
        default: The default, :data:`REQUIRED`, or :class:`Unreadable` if only importing would tell. A function, class,
            dataclass instance or member of an enumeration is an ``ObjectPath``, ``Instance`` or ``EnumMember``.
        widens_to_optional: Whether the value None makes the type optional.
    """

    name: str
    kind: Kind
    annotation: str
    declared: "str | Unreadable"
    default: Any = REQUIRED
    widens_to_optional: bool = False

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def nameable(self) -> bool:
        """Whether it can be given by name, so that a configuration can hold it."""
        return self.kind in ("positional_or_keyword", "keyword_only")

    @property
    def type(self) -> "str | Unreadable":
        """The type that a configuration checks, with the default as its value."""
        return self.type_for(self.default)

    def type_for(self, value: Any) -> "str | Unreadable":
        """The type that a configuration checks if it is registered with ``value``.

        A nested configuration and an interpolation may become anything, and None makes a simple type optional.
        """
        if isinstance(value, ObjectPath | Instance):
            return "Any"
        if isinstance(value, str) and len(value) > 3 and value.startswith("${") and value.endswith("}"):
            return "Any"
        if isinstance(self.declared, Unreadable) or isinstance(value, Unreadable):
            return self.declared if isinstance(self.declared, Unreadable) else value
        if value is None and self.widens_to_optional and self.declared != "Any":
            return f"Optional[{self.declared}]"
        return self.declared


@dataclass(frozen=True)
class Signature:
    """A class or function that a configuration may name.

    Attributes:
        target: The path that ``hydra_zen.builds`` writes as ``_target_``.
        parameters: What it takes, in its order.
        doc: Its documentation, with that of the constructor.
        file: Where it is defined.
        line: Likewise.
        is_class: Whether it is a class.
        sources: Every file that was read to find this out.
    """

    target: str
    parameters: tuple[Parameter, ...]
    doc: str
    file: Path
    line: int
    is_class: bool
    sources: tuple[Path, ...] = ()

    def fields(self) -> list[Parameter]:
        """The parameters that a configuration holds, in the order of ``hydra_zen.builds``: required ones first."""
        return sorted((each for each in self.parameters if each.nameable), key=lambda each: not each.required)

    @property
    def takes_any_keyword(self) -> bool:
        """Whether it has ``**kwargs``."""
        return any(each.kind == "var_keyword" for each in self.parameters)
