"""The constructors that Python writes itself: those of dataclasses and named tuples."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmkit.conf.reading.classes import class_level_value, mro, own_binding
from mmkit.conf.reading.decorators import dataclass_decorator
from mmkit.conf.reading.errors import Unreadable
from mmkit.conf.reading.modules import ModuleSource
from mmkit.conf.reading.names import Definition
from mmkit.conf.reading.values import Instance, canonical_path, evaluate, object_path


#: Stands for a default where there is none.
NO_DEFAULT: Any = object()


@dataclass(frozen=True)
class Field:
    """One field of a dataclass or named tuple.

    Attributes:
        name: Its name.
        annotation: Its annotation.
        owner: The class that declares it.
        default: Its default, ``NO_DEFAULT``, or :class:`Unreadable`.
        in_constructor: Whether the constructor takes it.
        keyword_only: Whether it takes it by name only.
    """

    name: str
    annotation: ast.expr
    owner: Definition
    default: Any
    in_constructor: bool = True
    keyword_only: bool = False


def writes_constructor(definition: Definition) -> bool:
    """Whether ``dataclass`` gives the class a constructor.

    Raises:
        Unreadable: Its arguments are computed.
    """
    decorator = dataclass_decorator(definition.class_node, definition.home) if definition.source else None
    return decorator is not None and bool(_option(decorator, "init", True, definition.home))


def constructor_fields(definition: Definition) -> list[Field]:
    """The fields that a dataclass's constructor takes, in its order.

    Raises:
        Unreadable: Something about them is computed.
    """
    fields: dict[str, Field] = {}
    for each in reversed(mro(definition)):
        if each.source is not None and dataclass_decorator(each.class_node, each.home) is not None:
            for field in _own_fields(each):
                fields[field.name] = field  # a field that is declared again keeps its place
    taken = [field for field in fields.values() if field.in_constructor]
    return sorted(taken, key=lambda field: field.keyword_only)


def named_tuple_fields(definition: Definition) -> list[Field]:
    """The fields of a class that is derived from ``typing.NamedTuple``."""
    return [
        Field(node.target.id, node.annotation, definition, _default(node.value, definition))
        for node in definition.class_node.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def dataclass_instance(definition: Definition, call: ast.Call, source: ModuleSource, before: int | None) -> Instance:
    """What ``SomeDataclass(...)`` in the source makes.

    Raises:
        Unreadable: It is no dataclass, or something about it is computed.
    """
    if not writes_constructor(definition) or own_binding(definition, "__init__") or own_binding(definition, "__post_init__"):
        raise Unreadable(f"`{ast.unparse(call)}` is computed (line {call.lineno} of {source.name})")
    fields = constructor_fields(definition)
    values = dict(zip([field.name for field in fields], [evaluate(each, source, before) for each in call.args], strict=False))
    values |= {str(each.arg): evaluate(each.value, source, before) for each in call.keywords}
    for field in fields:
        if field.name not in values:
            if field.default is NO_DEFAULT or isinstance(field.default, Unreadable):
                raise Unreadable(f"`{ast.unparse(call)}` is computed (line {call.lineno} of {source.name})")
            values[field.name] = field.default
    return Instance(object_path(definition), {field.name: values[field.name] for field in fields})


def _own_fields(definition: Definition) -> Iterator[Field]:
    decorator = dataclass_decorator(definition.class_node, definition.home)
    assert decorator is not None
    keyword_only = bool(_option(decorator, "kw_only", False, definition.home))
    for node in definition.class_node.body:
        if isinstance(node, ast.If | ast.Try | ast.With) and any(isinstance(each, ast.AnnAssign) for each in ast.walk(node)):
            raise Unreadable(f"{definition.dotted} declares fields under a condition")
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        kind = _special(node.annotation, definition.home)
        if kind == "KW_ONLY":
            keyword_only = True
        elif kind != "ClassVar":
            yield _field(node, node.target.id, definition, keyword_only)


def _special(annotation: ast.expr, source: ModuleSource) -> str:
    """``ClassVar`` or ``KW_ONLY`` if the annotation is one of them, also where annotations are text."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return ""
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    path = canonical_path(base, source, None)
    return path.rpartition(".")[2] if path in ("typing.ClassVar", "typing_extensions.ClassVar", "dataclasses.KW_ONLY") else ""


def _field(node: ast.AnnAssign, name: str, owner: Definition, keyword_only: bool) -> Field:
    call = node.value
    if not isinstance(call, ast.Call) or canonical_path(call.func, owner.home, None) != "dataclasses.field":
        return Field(name, node.annotation, owner, _default(call, owner), True, keyword_only)
    options = {str(each.arg): each.value for each in call.keywords}
    taken = bool(evaluate(options["init"], owner.home)) if "init" in options else True
    if "kw_only" in options:
        keyword_only = bool(evaluate(options["kw_only"], owner.home))
    if "default_factory" in options:
        return Field(name, node.annotation, owner, _made(options["default_factory"], owner), taken, keyword_only)
    return Field(name, node.annotation, owner, _default(options.get("default"), owner), taken, keyword_only)


def _default(node: ast.expr | None, owner: Definition) -> Any:
    if node is None:
        return NO_DEFAULT
    try:
        return class_level_value(node, owner)
    except Unreadable as error:
        return error


def _made(factory: ast.expr, owner: Definition) -> Any:
    """What a ``default_factory`` returns."""
    if isinstance(factory, ast.Lambda):
        return _default(factory.body, owner)
    return _default(ast.copy_location(ast.Call(factory, [], []), factory), owner)


def _option(decorator: ast.expr, name: str, default: bool, source: ModuleSource) -> Any:
    if isinstance(decorator, ast.Call):
        for each in decorator.keywords:
            if each.arg == name:
                return evaluate(each.value, source)
            if each.arg is None:
                raise Unreadable(f"{source.name}: `{ast.unparse(decorator)}` is computed")
    return default
