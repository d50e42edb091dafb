"""Small random packages are read, then imported: ``inspect.signature`` and hydra-zen must say the same of them."""

import importlib
import inspect
import itertools
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hydra_zen import builds
from hydra_zen.errors import HydraZenUnsupportedPrimitiveError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkit.conf.reading import REQUIRED, EnumMember, Instance, ObjectPath, Parameter, read_signature


PRELUDE = """
import functools
import math
import os
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Dict, Generic, List, Literal, NamedTuple, NewType, Optional
from typing import Tuple, TypeVar, Union

if TYPE_CHECKING:
    from nowhere import Missing

try:
    import a_package_that_is_not_there
except ImportError:
    a_package_that_is_not_there = None

if sys.version_info >= (3, 8):
    NUMBER = 3
else:
    NUMBER = 2
RATIO, NAMES = NUMBER / 2, ("a", "b")
T = TypeVar("T")
UserId = NewType("UserId", int)
Alias = Optional[int]

class Colour(Enum):
    RED = "red"
    BLUE = "blue"

@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2

class Widget:
    pass

class Folder(type(Path())):
    pass

def helper(x):
    return x

def same_signature(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner

def register(name):
    def decorator(thing):
        KNOWN[name] = thing
        return thing
    return decorator

KNOWN = {}
"""
# fmt: off
ANNOTATIONS = [
    "int", "float", "str", "bool", "bytes", "Any", "object", "list", "dict", "tuple", "List", "Dict", "Tuple", "Path", "Enum",
    "Optional[int]", "int | None", "None | str", "Union[int, str]", "Union[str, None]", "Optional[Union[int, str]]",
    "float | str", "list[int]", "List[str]", "dict[str, Any]", "Dict[int, list[float]]", "dict[Path, Optional[int]]",
    "list[Optional[str]]", "tuple[int, int]", "tuple[float, ...]", "Tuple[int, str]", "list[tuple[int, int]]",
    "tuple[list[int], list[int]]", "tuple[()]", "List[int] | None", "list[int] | None", "UserId | None", "Widget | None",
    "Optional[Widget]", "Optional[list[int]]", "T | None", "Literal['a', 'Missing']", "Callable[[int], str]",
    "Callable[..., Any] | None", "Sequence[int]", "type[int]", "os.PathLike", "Colour", "Optional[Colour]", "list[Colour]",
    "Widget", "T", "Alias", "UserId", "Annotated[int, 'Missing']", "set[int]", "'int'", "'Optional[Colour]'", "list['Colour']",
    "Optional['Widget']", "typing.Optional[str]", "typing.Any", "Optional[Alias]",
]
# fmt: on
# Python evaluates text inside of a named tuple's annotation in the wrong module, unless typing remembers it from another one.
NAMED_ANNOTATIONS = [each for each in ANNOTATIONS if each != "Optional['Widget']"]
# With one of these, typing gives up on all of a function's annotations.
FAILING = ["'Missing'", "Optional['Missing']", "'nowhere.Missing'", "Sequence['Missing']"]
# fmt: off
VALUES = [
    "1", "-2", "0.5", "1e-3", "True", "None", "'text'", "b'bytes'", "(1, 2.0)", "()", "('a', None)", "NUMBER", "RATIO", "NAMES",
    "NUMBER * 2 + 1", "-NUMBER", "f'{NUMBER} of {RATIO:.2f}'", "NAMES[0]", "math.pi", "2**10", "NAMES + ('c',)", "Colour.RED",
    "Colour.RED.value", "Colour.BLUE.name", "helper", "Widget", "Point(1)", "Point(y=5, x=NUMBER)", "float('inf')",
    "'a' if NUMBER > 2 else 'b'", "NUMBER == 3 and not None", "'${somewhere}'", "math.sqrt(NUMBER)", "math.log(100)",
    "len(NAMES)", "os.sep", "[1, [2, 3]]", "{'a': 1, 'b': [NUMBER]}", "[*NAMES, helper]", "{**{'a': Point(0)}}", "list(NAMES)",
    "dict(a=1)", "int",
]
# fmt: on
KINDS = {kind: str(kind.name).lower() for kind in inspect._ParameterKind}
_numbers = itertools.count()


@st.composite
def parameter_lists(draw: st.DrawFn, method: bool) -> str:
    """The text between the brackets of a ``def``."""
    optional = st.one_of(st.none(), st.sampled_from(ANNOTATIONS), st.sampled_from(ANNOTATIONS))
    names = iter("abcdefgh")
    with_default = False
    parts = ["self"] if method else []
    for _ in range(draw(st.integers(0, 4))):
        with_default = with_default or draw(st.booleans())
        parts.append(_parameter(next(names), draw(optional), draw(st.sampled_from(VALUES)) if with_default else None))
    if len(parts) > int(method) and draw(st.integers(0, 4)) == 0:
        parts.insert(draw(st.integers(1 + method, len(parts))), "/")
    star = draw(st.sampled_from(["", "*rest: 'Any'", "*"]))
    by_name = [
        _parameter(next(names), draw(optional), draw(st.one_of(st.none(), st.sampled_from(VALUES))))
        for _ in range(draw(st.integers(1 if star == "*" else 0, 2)))
    ]
    parts += [star, *by_name] if star else []
    return ", ".join([*parts, "**others: int"] if draw(st.booleans()) else parts)


def _parameter(name: str, annotation: str | None, default: str | None) -> str:
    return f"{name}{'' if annotation is None else ': ' + annotation}{'' if default is None else ' = ' + default}"


@st.composite
def field_lists(draw: st.DrawFn) -> str:
    """The body of a dataclass."""
    lines = ["    shared: ClassVar[int] = 1"]
    with_default = False
    for name in "abcd"[: draw(st.integers(0, 4))]:
        with_default = with_default or draw(st.booleans())
        annotation, value = draw(st.sampled_from(ANNOTATIONS)), draw(st.sampled_from(VALUES))
        made = draw(st.sampled_from(["field(default_factory=lambda: {})", "field(default={}, repr=False)", "{}"]))
        if value[0] in "[{" or value[:4] in ("list", "dict"):
            made = "field(default_factory=lambda: {})"  # Python refuses a list as a default
        elif "factory" not in made and draw(st.integers(0, 5)) == 0:
            annotation = f"InitVar[{annotation}]"
        lines.append(f"    {name}: {annotation}" + (f" = {made.replace('{}', value, 1)}" if with_default else ""))
        if draw(st.integers(0, 5)) == 0:
            lines.append(f"    hidden_{name}: int = field(default=1, init=False)")
        if draw(st.integers(0, 5)) == 0 and "    _: KW_ONLY" not in lines:
            lines.append("    _: KW_ONLY")
    return "\n".join(lines)


@st.composite
def packages(draw: st.DrawFn) -> tuple[dict[str, str], list[str]]:
    """The files of a package, and the paths that are read from it."""
    first = draw(st.sampled_from(["", "from __future__ import annotations\n"]))
    second = draw(st.sampled_from(["", "from __future__ import annotations\n"]))
    doubtful = draw(st.sampled_from([*FAILING, "int", "int", "int", "int"]))
    base = f"""{first}{PRELUDE}
def plain({draw(parameter_lists(False))}) -> {draw(st.sampled_from(ANNOTATIONS))}:
    pass

@same_signature
def wrapped({draw(parameter_lists(False))}):
    pass

def doubtful(a: {doubtful} = None, b: int = 1, c: Optional[str] = None):
    pass

@register("base")
class Base:
    LIMIT = 5
    def __init__({draw(parameter_lists(True))}) -> None:
        pass

class Kept(Base):
    def method(self):
        pass

class New(Base):
    def __new__(cls, size: int = NUMBER, {draw(st.sampled_from(["", "*args, ", "*, name: str, "]))}**kwargs):
        return super().__new__(cls)

class Inner:
    LIMIT = 5
    def __init__(self, limit: int = LIMIT, other: Any = None):
        pass

@dataclass{draw(st.sampled_from(["", "()", "(kw_only=True)", "(init=False)"]))}
class Data:
{draw(field_lists())}

class Named(NamedTuple):
    x: int
    y: Optional[str] = None
    z: {draw(st.sampled_from(NAMED_ANNOTATIONS))} = 1
"""
    derived = f"""{second}from .base import *
from .base import T
from . import base as other
import dataclasses
from typing import Generic, Optional, Any

class Mixin:
    pass

class Both(Mixin, other.Kept, Generic[T]):
    pass

class Own(Both[int]):
    def __init__(self, a: Colour = Colour.BLUE, b: "Optional[Point]" = None, c: other.Alias = None, *, d: Any = NUMBER): ...

class DataKept(Data):
    pass

@dataclasses.dataclass(kw_only=True)
class DataMore(Data):
    extra: int = 0
    a: float = 0.5

Renamed = other.Base
"""
    init = "from .base import plain, Named as Tuple3\nfrom .derived import *\nfrom . import derived as d\n"
    names = ["plain", "Tuple3", "Both", "Own", "DataKept", "DataMore", "derived.Renamed", "d.Own"]
    in_base = ["wrapped", "doubtful", "Base", "Kept", "New", "Inner", "Data", "Point", "Named"]
    names += [f"base.{each}" for each in in_base]
    return {"__init__": init, "base": base, "derived": derived}, names


@pytest.fixture
def path_entry(tmp_path: Path) -> Iterator[Path]:
    before = set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - before:
        if name.startswith("generated_"):
            del sys.modules[name]


# The same forty every time: typing remembers annotations across modules, so that a rare difference may be its own.
@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(package=packages())
def test_reading_says_what_importing_says(path_entry: Path, package: tuple[dict[str, str], list[str]]) -> None:
    files, names = package
    name = f"generated_{next(_numbers)}"
    (path_entry / name).mkdir()
    for module, text in files.items():
        (path_entry / name / f"{module}.py").write_text(text)
    found = {each: read_signature(f"{name}.{each}") for each in names}
    assert not [each for each in sys.modules if each.startswith(name)], "reading imported the module"
    importlib.invalidate_caches()
    importlib.import_module(name)
    for each, signature in found.items():
        owner, _, attribute = f"{name}.{each}".rpartition(".")
        real = getattr(importlib.import_module(owner) if owner != f"{name}.d" else sys.modules[f"{name}.derived"], attribute)
        assert _signature(signature.parameters) == _real_signature(real), each
        assert signature.target == f"{real.__module__}.{real.__qualname__}"
        _compare_with_build(signature.fields(), real)


def _signature(parameters: tuple[Parameter, ...]) -> list[tuple[str, str, bool]]:
    return [(each.name, each.kind, each.required and not each.kind.startswith("var_")) for each in parameters]


def _real_signature(real: Any) -> list[tuple[str, str, bool]]:
    parameters = inspect.signature(real).parameters.values()
    return [
        (each.name, KINDS[each.kind], each.default is each.empty and not each.kind.name.startswith("VAR_")) for each in parameters
    ]


def _compare_with_build(parameters: list[Parameter], real: Any) -> None:
    try:
        built = builds(real, populate_full_signature=True, hydra_convert="object")
    except HydraZenUnsupportedPrimitiveError:
        return
    expected = [each for each in fields(built) if each.init]
    assert [each.name for each in parameters] == [each.name for each in expected]
    for ours, theirs in zip(parameters, expected, strict=True):
        assert ours.type == _type_text(theirs.type), (ours, theirs)
        assert _as_built(ours.default) == _built_default(theirs), (ours, theirs)


def _type_text(type_: Any) -> str:
    """A type in the words of the reader: ``typing.`` left out, the project's own classes with their module."""
    text = type_.__name__ if type_ in (int, float, str, bool, bytes, list, dict, tuple, Path) else str(type_)
    for each in ("Colour", "Point"):
        if text == f"<enum '{each}'>" or text.endswith(f".base.{each}'>"):
            return f"{type_.__module__}.{each}"
    if text == "<enum 'Enum'>":
        return "Enum"
    return text.replace("typing.", "").replace("pathlib.Path", "Path")


def _as_built(value: Any) -> Any:
    """The value of the reader as plain data."""
    match value:
        case ObjectPath(path):
            return ("object", path)
        case EnumMember(enum, name):
            return ("member", enum, name)
        case Instance(target, arguments):
            return ("instance", target, {key: _as_built(each) for key, each in arguments.items()})
        case list() | tuple():
            return type(value)(_as_built(each) for each in value)
        case dict():
            return {key: _as_built(each) for key, each in value.items()}
    return value


def _built_default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return _built(field.default_factory())
    return REQUIRED if field.default is MISSING else _built(field.default)


def _built(value: Any) -> Any:
    """The same for the value of hydra-zen."""
    if isinstance(value, list | tuple):
        return type(value)(_built(each) for each in value)
    if isinstance(value, dict):
        return {key: _built(each) for key, each in value.items()}
    if type(value).__module__.startswith("generated_"):
        return ("member", f"{type(value).__module__}.{type(value).__qualname__}", value.name)
    if getattr(value, "path", None) is not None:
        return ("object", value.path)
    if hasattr(value, "_target_"):
        return ("instance", value._target_, {each.name: _built_default(each) for each in fields(value) if each.init})
    return value
