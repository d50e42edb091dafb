"""What a decorator does to the signature of what it decorates."""

import ast
from collections.abc import Iterator, Sequence

from mmkit.conf.reading.errors import Unreadable
from mmkit.conf.reading.modules import ModuleSource
from mmkit.conf.reading.values import canonical_path, definition_of, imported_path


# Decorators that leave a signature as it is, or wrap with `functools.wraps`, which `inspect.signature` sees through.
_HARMLESS = {
    "abc.abstractmethod",
    "contextlib.contextmanager",
    "functools.cache",
    "functools.lru_cache",
    "functools.total_ordering",
    "staticmethod",
    "torch.inference_mode",
    "torch.jit.export",
    "torch.jit.ignore",
    "torch.jit.unused",
    "torch.no_grad",
}
_HARMLESS |= {
    f"{module}.{name}" for module in ("typing", "typing_extensions") for name in ("final", "override", "runtime_checkable")
}
_HARMLESS |= {f"{module}external_store" for module in ("mmkit.", "mmkit.conf.", "mmkit.conf.store.")}
_DEPRECATED = {"typing_extensions.deprecated", "warnings.deprecated"}
_DATACLASS = {"dataclasses.dataclass"}
# What a decorator may not touch if the signature is to be read from the definition.
_IDENTITY = {"__init__", "__new__", "__call__", "__signature__", "__wrapped__", "__module__", "__qualname__", "__name__"}
_IDENTITY |= {"__annotations__", "__defaults__", "__kwdefaults__", "__code__", "__bases__"}
_HARMLESS_CALLS = {"isinstance", "issubclass", "callable", "hasattr", "len", "repr", "str", "id", "getattr"}

Decorated = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def decorator_path(node: ast.expr, source: ModuleSource) -> str:
    """Dotted path of a decorator, its arguments left out."""
    function = node.func if isinstance(node, ast.Call) else node
    path = imported_path(function, source, None)
    return path if path in _HARMLESS else canonical_path(function, source, None)


def dataclass_decorator(node: ast.ClassDef, source: ModuleSource) -> ast.expr | None:
    """The decorator that makes a class a dataclass of the standard library, if there is one."""
    return next((each for each in node.decorator_list if decorator_path(each, source) in _DATACLASS), None)


def is_deprecated(node: Decorated, source: ModuleSource) -> bool:
    """Whether it is marked with ``deprecated``, which gives a class a constructor that takes anything."""
    return any(decorator_path(each, source) in _DEPRECATED for each in node.decorator_list)


def check_decorators(node: Decorated, source: ModuleSource) -> None:
    """Let only decorators pass that keep signature and name.

    Raises:
        Unreadable: One may change them.
    """
    for each in node.decorator_list:
        path = decorator_path(each, source)
        if path not in _HARMLESS | _DEPRECATED | _DATACLASS and not _keeps_signature(each, source):
            raise Unreadable(f"{source.name}.{node.name} is decorated with `{ast.unparse(each)}`")


def _keeps_signature(node: ast.expr, source: ModuleSource) -> bool:
    """Whether the source of a decorator shows that it returns what it is given, or a wrapper with ``functools.wraps``."""
    called = isinstance(node, ast.Call)
    try:
        found = definition_of(node.func if isinstance(node, ast.Call) else node, source)
    except Unreadable:
        return False
    if found is None or not isinstance(found.node, ast.FunctionDef) or found.node.decorator_list:
        return False
    if not called:
        return _returns_given(found.node, found.home)
    inner = {each.name: each for each in found.node.body if isinstance(each, ast.FunctionDef)}
    returned = [_plain(each.value, found.home) for each in _returns(found.node.body)]
    names = {each.id for each in returned if isinstance(each, ast.Name)}
    return (
        len(names) == 1
        and len(returned) == len([each for each in returned if isinstance(each, ast.Name)])
        and names <= set(inner)
        and _returns_given(inner[names.pop()], found.home)
    )


def _returns_given(function: ast.FunctionDef, source: ModuleSource) -> bool:
    """Whether a decorator without arguments returns the object, or a wrapper of it, and leaves its identity alone."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    if len(arguments) != 1 or function.decorator_list:
        return False
    given = arguments[0].arg
    wrappers = {each.name for each in function.body if isinstance(each, ast.FunctionDef) and _wraps(each, given, source)}
    returned = [_plain(each.value, source) for each in _returns(function.body)]
    return (
        bool(returned)
        and all(isinstance(each, ast.Name) and each.id in {given, *wrappers} for each in returned)
        and not any(_interferes(each, {given, *wrappers}, wrappers) for each in _own_nodes(function.body))
    )


def _wraps(function: ast.FunctionDef, given: str, source: ModuleSource) -> bool:
    match function.decorator_list:
        case [*outer, ast.Call(func=decorator, args=[ast.Name(id=name)])]:
            wraps = name == given and imported_path(decorator, source, None) == "functools.wraps"
            return wraps and all(_keeps_signature(each, source) for each in outer)
    return False


def _plain(node: ast.expr | None, source: ModuleSource) -> ast.expr | None:
    """An expression without ``typing.cast`` around it."""
    match node:
        case ast.Call(func=function, args=[_, value]) if imported_path(function, source, None) == "typing.cast":
            return value
    return node


def _returns(statements: Sequence[ast.stmt]) -> Iterator[ast.Return]:
    return (each for each in _own_nodes(statements) if isinstance(each, ast.Return))


def _own_nodes(statements: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes of a body except those inside the functions and classes that it defines."""
    waiting: list[ast.AST] = list(statements)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def _interferes(node: ast.AST, names: set[str], wrappers: set[str]) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Store()):
            return name in names and attribute in _IDENTITY
        case ast.Name(id=name, ctx=ast.Store()):
            return name in names
        case ast.Call(func=function, args=arguments):
            given = {each.id for each in arguments if isinstance(each, ast.Name)} & names
            known = isinstance(function, ast.Name) and function.id in _HARMLESS_CALLS
            stored = isinstance(function, ast.Attribute) and function.attr in ("append", "add", "setdefault")
            reads = ast.unparse(function) in ("cast", "typing.cast", "inspect.signature", "inspect.isclass", "inspect.isfunction")
            return bool(given) and not (known or stored or reads)
    return False
