"""What an expression of the source is worth: literals, constants, arithmetic, members of enumerations, functions and classes."""

import ast
import math
import operator
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mmkit.conf.reading.errors import NoSuchModule, NoSuchName, Unreadable
from mmkit.conf.reading.modules import ModuleSource
from mmkit.conf.reading.names import Definition, lookup, member
from mmkit.conf.reading.results import EnumMember, Instance, ObjectPath


def evaluate(node: ast.expr, source: ModuleSource, before: int | None = None) -> Any:
    """The value of an expression at the top level of a module.

    Args:
        node: The expression.
        source: The module that holds it.
        before: The line where it stands: names have the value that they were given before. None takes the final one.

    Returns:
        Python's own value, or :class:`ObjectPath`, :class:`EnumMember` or :class:`Instance` for what only importing makes.

    Raises:
        Unreadable: Only importing would tell.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List() | ast.Tuple() | ast.Set():
            return _CONTAINERS[type(node)](_elements(node.elts, source, before))
        case ast.Dict():
            return _dict(node, source, before)
        case ast.JoinedStr():
            return "".join(_text(part, source, before) for part in node.values)
        case ast.UnaryOp() if type(node.op) in _UNARY:
            return _computed(node, _UNARY[type(node.op)], evaluate(node.operand, source, before))
        case ast.BinOp() if type(node.op) in _BINARY:
            left, right = evaluate(node.left, source, before), evaluate(node.right, source, before)
            return _computed(node, _BINARY[type(node.op)], left, right)
        case ast.BoolOp():
            return _bool_op(node, source, before)
        case ast.Compare():
            return _compare(node, source, before)
        case ast.IfExp():
            return evaluate(node.body if evaluate(node.test, source, before) else node.orelse, source, before)
        case ast.Subscript():
            return _computed(node, operator.getitem, evaluate(node.value, source, before), evaluate(node.slice, source, before))
        case ast.Slice():
            return slice(
                *(None if each is None else evaluate(each, source, before) for each in (node.lower, node.upper, node.step))
            )
        case ast.Name() | ast.Attribute():
            return _name(node, source, before)
        case ast.Call():
            return _call(node, source, before)
    raise Unreadable(f"`{ast.unparse(node)}` is computed (line {node.lineno} of {source.name})")


_CONTAINERS = {ast.List: list, ast.Tuple: tuple, ast.Set: set}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_, ast.Invert: operator.invert}
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_PURE = {each.__name__: each for each in (float, int, str, bool, tuple, list, dict, abs, min, max, round, len, sum, sorted)}
# Attributes of the standard library that are the same for whoever asks, so that asking here is right.
_CONSTANTS: dict[str, Any] = {f"math.{name}": value for name, value in vars(math).items() if isinstance(value, float)}
_CONSTANTS |= {"sys.version_info": sys.version_info, "sys.platform": sys.platform, "sys.maxsize": sys.maxsize, "os.name": os.name}
_CONSTANTS |= {"typing.TYPE_CHECKING": False, "typing_extensions.TYPE_CHECKING": False, "sys.byteorder": sys.byteorder}
_CONSTANTS |= {"sys.float_info": sys.float_info, "os.sep": os.sep}
_OPAQUE = (ObjectPath, EnumMember, Instance)


def object_path(definition: Definition) -> str:
    """The dotted path that Python's ``__module__`` and ``__qualname__`` give to a class or function.

    Raises:
        Unreadable: Only importing would tell.
    """
    from mmkit.conf.reading.targets import target_path  # needs decorators, which are values

    return target_path(definition)


def module_all(source: ModuleSource) -> list[str] | None:
    """The names of ``__all__``; None if the module has none.

    Raises:
        Unreadable: It is computed.
    """
    if "__all__" not in source.body.names:
        return None
    names: list[str] = []
    for node in source.tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AnnAssign(target=ast.Name(id="__all__")):
                assert node.value is not None
                names = list(evaluate(node.value, source, before=node.lineno))
            case ast.AugAssign(target=ast.Name(id="__all__"), op=ast.Add()):
                names += evaluate(node.value, source, before=node.lineno)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="__all__"), attr=method), args=[given])):
                value = evaluate(given, source, before=node.lineno)
                names += [value] if method == "append" else value if method == "extend" else _not_followed(node, source)
            case ast.If() | ast.Try() | ast.For() | ast.With() if any(map(_changes_all, ast.walk(node))):
                _not_followed(node, source)
    return names


def _changes_all(node: ast.AST) -> bool:
    match node:
        case ast.Name(id="__all__", ctx=ast.Store()) | ast.Call(func=ast.Attribute(value=ast.Name(id="__all__"))):
            return True
    return False


def _not_followed(node: ast.AST, source: ModuleSource) -> Any:
    raise Unreadable(f"{source.name}: `__all__` is changed in line {getattr(node, 'lineno', '?')}")


def _elements(nodes: list[ast.expr], source: ModuleSource, before: int | None) -> list[Any]:
    values: list[Any] = []
    for node in nodes:
        if isinstance(node, ast.Starred):
            values.extend(evaluate(node.value, source, before))
        else:
            values.append(evaluate(node, source, before))
    return values


def _dict(node: ast.Dict, source: ModuleSource, before: int | None) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            result.update(evaluate(value, source, before))
        else:
            result[evaluate(key, source, before)] = evaluate(value, source, before)
    return result


def _text(part: ast.expr, source: ModuleSource, before: int | None) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    value = _known(evaluate(part.value, source, before), part, source)
    specification = "" if part.format_spec is None else evaluate(part.format_spec, source, before)
    converted = {-1: lambda each: each, 115: str, 114: repr, 97: ascii}[part.conversion](value)
    return format(converted, specification)


def _known(value: Any, node: ast.AST, source: ModuleSource) -> Any:
    if isinstance(value, _OPAQUE):
        raise Unreadable(f"`{ast.unparse(node)}` in {source.name} works with an object")
    return value


def _computed(node: ast.AST, function: Callable[..., Any], *values: Any) -> Any:
    if any(isinstance(value, _OPAQUE) for value in values):
        raise Unreadable(f"`{ast.unparse(node)}` works with an object")
    try:
        return function(*values)
    except Exception as error:
        raise Unreadable(f"`{ast.unparse(node)}` fails: {error}") from error


def _bool_op(node: ast.BoolOp, source: ModuleSource, before: int | None) -> Any:
    stops_at = isinstance(node.op, ast.Or)
    value: Any = None
    for each in node.values:
        value = evaluate(each, source, before)
        if bool(_known(value, each, source)) is stops_at:
            break
    return value


def _compare(node: ast.Compare, source: ModuleSource, before: int | None) -> bool:
    left = evaluate(node.left, source, before)
    for operation, each in zip(node.ops, node.comparators, strict=True):
        right = evaluate(each, source, before)
        if not _computed(node, _COMPARE[type(operation)], left, right):
            return False
        left = right
    return True


def _name(node: ast.Name | ast.Attribute, source: ModuleSource, before: int | None) -> Any:
    dotted = imported_path(node, source, before)
    if dotted == "__name__":
        return source.name
    if dotted in _CONSTANTS:
        return _CONSTANTS[dotted]
    if isinstance(node, ast.Attribute) and dotted.rpartition(".")[0] in _CONSTANTS:
        return getattr(_CONSTANTS[dotted.rpartition(".")[0]], node.attr)
    if isinstance(node, ast.Attribute) and node.attr in ("name", "value"):
        owner = _enum_member(node.value, source, before)
        if owner is not None:
            return getattr(owner, node.attr)
    found = definition_of(node, source, before)
    if found is not None:
        return value_of(found)
    if isinstance(node, ast.Name) and node.id in _BUILTIN_CLASSES:
        return ObjectPath(f"builtins.{node.id}")
    raise Unreadable(f"`{ast.unparse(node)}` is not defined in {source.name}")


def _enum_member(node: ast.expr, source: ModuleSource, before: int | None) -> EnumMember | None:
    try:
        value = evaluate(node, source, before)
    except Unreadable:
        return None
    return value if isinstance(value, EnumMember) else None


_BUILTIN_CLASSES = {"int", "float", "str", "bool", "list", "dict", "tuple", "set", "frozenset", "bytes", "object", "type"}


def imported_path(node: ast.expr, source: ModuleSource, before: int | None) -> str:
    """The dotted path of a name as its module's imports give it, e.g. ``math.pi`` for ``m.pi`` after ``import math as m``."""
    if isinstance(node, ast.Attribute):
        return f"{imported_path(node.value, source, before)}.{node.attr}"
    if not isinstance(node, ast.Name):
        return ""
    bound = source.body.names.get(node.id, [])
    if len(bound) == 1 and bound[0].kind == "import" and not bound[0].conditions:
        return f"{bound[0].module}.{bound[0].attribute}" if bound[0].attribute else bound[0].module
    return node.id


def canonical_path(node: ast.expr, source: ModuleSource, before: int | None) -> str:
    """Like :func:`imported_path`, but seen through modules that pass the names of others on; for comparing with known names."""
    path = imported_path(node, source, before)
    if path.partition(".")[0] not in sys.stdlib_module_names:
        with suppress(Unreadable):
            found = definition_of(node, source, before)
            path = path if found is None else found.dotted
    return f"collections.abc.{path.removeprefix('_collections_abc.')}" if path.startswith("_collections_abc.") else path


def definition_of(node: ast.expr, source: ModuleSource, before: int | None = None) -> Definition | None:
    """What a name or ``a.b.c`` in a module stands for; None if the module does not bind it.

    Raises:
        Unreadable: Only importing would tell.
    """
    try:
        if isinstance(node, ast.Attribute):
            owner = definition_of(node.value, source, before)
            return None if owner is None else member(owner, node.attr)
        if isinstance(node, ast.Name):
            return lookup(source, node.id, before)
    except (NoSuchName, NoSuchModule) as error:
        raise Unreadable(f"`{ast.unparse(node)}` in {source.name}: {error}") from error
    raise Unreadable(f"`{ast.unparse(node)}` in {source.name} is computed")


def value_of(found: Definition) -> Any:
    """The value of what a name stands for.

    Raises:
        Unreadable: Only importing would tell.
    """
    if found.kind in ("class", "function"):
        return ObjectPath(object_path(found))
    if found.kind == "value":
        assert isinstance(found.node, ast.expr)
        value = evaluate(found.node, found.home, before=found.node.lineno)
        if isinstance(value, list | dict | set) and _changes(found.qualname, found.home.text):
            raise Unreadable(f"{found.dotted} is changed after it is made")
        return value
    if found.kind == "attribute":
        from mmkit.conf.reading.classes import attribute_value  # classes are made of values

        return attribute_value(found)
    raise Unreadable(f"{found.dotted} is a {found.kind}")


def _changes(name: str, text: str) -> bool:
    """Whether a module seems to change a container of its own."""
    return re.search(rf"^\s*{name}(\.\w+\(|\[[^\n]*\]\s*[-+|]?=(?!=)|\s*[-+|]=)|\bdel {name}\[", text, re.MULTILINE) is not None


def _call(node: ast.Call, source: ModuleSource, before: int | None) -> Any:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in _PURE and name not in source.body.names and not source.body.stars:
        arguments = _elements(node.args, source, before)
        keywords = {str(each.arg): evaluate(each.value, source, before) for each in node.keywords if each.arg is not None}
        return _computed(node, lambda *values: _PURE[name](*values, **keywords), *arguments)
    if imported_path(node.func, source, before).startswith("math."):
        function = getattr(math, imported_path(node.func, source, before).removeprefix("math."), None)
        if callable(function):
            return _computed(node, function, *_elements(node.args, source, before))
    found = definition_of(node.func, source, before)
    if found is not None and found.kind == "class":
        from mmkit.conf.reading.dataclass_fields import dataclass_instance  # fields have values

        return dataclass_instance(found, node, source, before)
    raise Unreadable(f"`{ast.unparse(node)}` is computed (line {node.lineno} of {source.name})")
