"""What a class or function takes, read from its source: names, kinds, defaults, and types as a configuration checks them."""

import ast
import sys
from collections.abc import Iterator
from typing import Any

from mmkit.conf.reading.annotations import Form, UndefinedName, config_type, holds_text, read_annotation, takes_optional
from mmkit.conf.reading.classes import bases, class_level_value, has_no_constructor, is_named_tuple, mro, own_binding
from mmkit.conf.reading.dataclass_fields import NO_DEFAULT, Field, constructor_fields, named_tuple_fields, writes_constructor
from mmkit.conf.reading.decorators import check_decorators, is_deprecated
from mmkit.conf.reading.docs import documentation
from mmkit.conf.reading.errors import Unreadable
from mmkit.conf.reading.modules import ModuleSource, recording
from mmkit.conf.reading.names import Definition, resolve
from mmkit.conf.reading.results import REQUIRED, Kind, Parameter, Signature
from mmkit.conf.reading.values import definition_of, evaluate, object_path


def read_signature(dotted: str) -> Signature:
    """Read the signature of what a ``_target_`` names.

    Raises:
        NoSuchModule: The package is not installed, or a part in the middle of the path does not exist.
        NoSuchName: The last module or class of the path has no such name.
        Unreadable: Only importing would tell: it is compiled, a method, decorated in an unknown way, ...
    """
    with recording() as paths:
        definition = resolve(dotted)
        if definition.source is None or definition.kind not in ("class", "function"):
            raise Unreadable(f"{dotted} is a {definition.kind} that is not read")
        is_class = definition.kind == "class"
        owner, parameters = (
            _of_class(definition) if is_class else (definition, _of_function(definition.node, definition.home, None))
        )
        target, doc = object_path(definition), documentation(definition, owner)
    node = definition.node
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    files = tuple(sorted(path for path in paths if path.suffix == ".py"))
    return Signature(target, tuple(parameters), doc, definition.home.path, node.lineno, is_class, files)


def _of_class(definition: Definition) -> tuple[Definition, list[Parameter]]:
    """What the constructor takes, and which class defines it: the nearest ``__new__`` or ``__init__``, as for hydra-zen."""
    for owner in _candidates(definition):
        if owner.source is None:
            if has_no_constructor(owner):
                continue
            raise Unreadable(f"{definition.dotted} inherits the constructor of {owner.dotted}")
        parameters = _own_constructor(owner)
        if parameters is not None:
            return owner, parameters
    return definition, []


def _own_constructor(owner: Definition) -> list[Parameter] | None:
    """What the constructor takes that a class itself defines; None if it defines none."""
    _check_class(owner)
    if is_deprecated(owner.class_node, owner.home):  # replaces `__new__` by one that takes anything
        return [Parameter("args", "var_positional", "", "Any"), Parameter("kwargs", "var_keyword", "", "Any")]
    if is_named_tuple(owner):
        fields = named_tuple_fields(owner)
        return _of_fields(fields, _named_tuple_types(fields, owner))
    if own_binding(owner, "__new__") is not None:
        return _of_method(owner, "__new__")
    if own_binding(owner, "__init__") is not None:
        return _of_method(owner, "__init__")
    if writes_constructor(owner):
        fields = constructor_fields(owner)
        return _of_fields(fields, _field_types(fields, owner))
    return None


def _candidates(definition: Definition) -> Iterator[Definition]:
    """The class and what it inherits from, in Python's order; bases are looked up only as far as they are asked for."""
    yield definition
    direct = bases(definition)
    if len(direct) == 1:
        yield from _candidates(direct[0])
    else:
        yield from mro(definition)[1:]


def _check_class(owner: Definition) -> None:
    node, source = owner.class_node, owner.home
    check_decorators(node, source)
    if own_binding(owner, "__signature__") is not None:
        raise Unreadable(f"{owner.dotted} sets its signature itself")
    for keyword in node.keywords:
        if keyword.arg == "metaclass" and ast.unparse(keyword.value) not in ("ABCMeta", "abc.ABCMeta"):
            metaclass = definition_of(keyword.value, source, node.lineno)
            if metaclass is None or any(each.source and own_binding(each, "__call__") for each in mro(metaclass)):
                raise Unreadable(f"the metaclass of {owner.dotted} makes its instances")


def _of_method(owner: Definition, name: str) -> list[Parameter]:
    binding = own_binding(owner, name)
    assert binding is not None
    if not isinstance(binding.node, ast.FunctionDef):
        raise Unreadable(f"{owner.dotted}.{name} is not a function definition")
    parameters = _of_function(binding.node, owner.home, owner)
    return parameters if parameters and parameters[0].kind == "var_positional" else parameters[1:]


def _of_function(node: ast.AST | None, source: ModuleSource, owner: Definition | None) -> list[Parameter]:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    check_decorators(node, source)
    types = _types(node, source)
    return [
        Parameter(each.arg, kind, _text(each.annotation), *_declared(types, each.arg, _default(default, source, owner, node)))
        for each, kind, default in _arguments(node.args)
    ]


def _arguments(arguments: ast.arguments) -> Iterator[tuple[ast.arg, Kind, ast.expr | None]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    for position, (each, default) in enumerate(zip(positional, defaults, strict=True)):
        yield each, "positional_only" if position < len(arguments.posonlyargs) else "positional_or_keyword", default
    if arguments.vararg is not None:
        yield arguments.vararg, "var_positional", None
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield each, "keyword_only", default
    if arguments.kwarg is not None:
        yield arguments.kwarg, "var_keyword", None


def _default(node: ast.expr | None, source: ModuleSource, owner: Definition | None, function: ast.AST) -> Any:
    if node is None:
        return REQUIRED
    try:
        if owner is not None:
            return class_level_value(node, owner)
        return evaluate(node, source, before=getattr(function, "lineno", None))
    except Unreadable as error:
        return error


def _types(node: ast.FunctionDef | ast.AsyncFunctionDef, source: ModuleSource) -> "dict[str, Form] | Unreadable":
    """The annotations; none if a name in one that is text is undefined, as for ``typing.get_type_hints``."""
    every = [each for each, _, _ in _arguments(node.args)]
    annotations = {each.arg: each.annotation for each in every if each.annotation is not None}
    if node.returns is not None:
        annotations["return"] = node.returns
    try:
        return {
            name: read_annotation(annotation, source, node.lineno, source.delayed_annotations)
            for name, annotation in annotations.items()
        }
    except UndefinedName:
        return {}
    except Unreadable as error:
        return error


def _declared(types: "dict[str, Form] | Unreadable", name: str, default: Any) -> tuple["str | Unreadable", Any, bool]:
    """The type of a parameter, its default, and whether None widens the type."""
    if isinstance(types, Unreadable):
        return types, default, False
    if name not in types:
        return "Any", default, False
    try:
        return config_type(types[name]), default, takes_optional(types[name])
    except Unreadable as error:
        return error, default, False


def _of_fields(fields: list[Field], types: "dict[str, Form] | Unreadable") -> list[Parameter]:
    return [
        Parameter(
            field.name,
            "keyword_only" if field.keyword_only else "positional_or_keyword",
            _text(field.annotation),
            *_declared(types, field.name, REQUIRED if field.default is NO_DEFAULT else field.default),
        )
        for field in fields
    ]


def _field_types(fields: list[Field], definition: Definition) -> "dict[str, Form] | Unreadable":
    """Text is evaluated in the module of the class that got the constructor, other annotations in that of their class."""
    try:
        return {field.name: _field_type(field, definition.home) for field in fields}
    except UndefinedName:
        return {}
    except Unreadable as error:
        return error


def _field_type(field: Field, there: ModuleSource) -> Form:
    home, line = field.owner.home, field.owner.class_node.lineno
    if home is there or not _holds_text(field):
        return read_annotation(field.annotation, home, line, home.delayed_annotations)
    if home.delayed_annotations or isinstance(field.annotation, ast.Constant):
        return read_annotation(field.annotation, there, line, True)
    here, from_there = read_annotation(field.annotation, home, line, False), _read_or_none(field.annotation, there)
    if here != from_there:
        raise Unreadable(f"the annotation of {field.owner.dotted}.{field.name} holds text, which means another module's names")
    return here


def _read_or_none(annotation: ast.expr, source: ModuleSource) -> Form | None:
    try:
        return read_annotation(annotation, source, 0, True)
    except UndefinedName:
        return None


def _named_tuple_types(fields: list[Field], definition: Definition) -> "dict[str, Form] | Unreadable":
    """As for dataclasses, but Python evaluates text where no name is defined, not even ``int``."""
    if not any(map(_holds_text, fields)):
        return _field_types(fields, definition)
    return {} if sys.version_info < (3, 14) else Unreadable(f"{definition.dotted}: how this Python sees its annotations")


def _holds_text(field: Field) -> bool:
    return field.owner.home.delayed_annotations or holds_text(field.annotation, field.owner.home)


def _text(annotation: ast.expr | None) -> str:
    return "" if annotation is None else ast.unparse(annotation)
