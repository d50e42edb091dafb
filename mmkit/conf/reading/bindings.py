"""Which statement of a module or class body binds which name, and under which condition."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Condition:
    """A statement that decides whether others run.

    Attributes:
        node: An ``if``, whose test counts, or a ``try``, whose success counts.
        expected: The outcome under which the binding happens.
    """

    node: ast.If | ast.Try
    expected: bool


@dataclass(frozen=True)
class Binding:
    """One statement that binds one name.

    Attributes:
        name: The name; ``*`` for a star import.
        kind: ``definition`` (class or function), ``value``, ``import``, ``deleted`` or ``unknown``, e.g. a loop variable.
        node: The class, function or expression; None for imports.
        line: Where it is.
        module: For imports, the module, absolute.
        attribute: For imports of a name from a module, that name.
        conditions: All must hold, outermost first.
    """

    name: str
    kind: Literal["definition", "value", "import", "deleted", "unknown"]
    node: ast.AST | None
    line: int
    module: str = ""
    attribute: str | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Body:
    """The bindings of a module or class body.

    Attributes:
        names: Bindings by name, in order of execution.
        stars: Star imports, in order.
    """

    names: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[Binding] = field(default_factory=list)


def bindings_of(statements: Sequence[ast.stmt], package: str) -> Body:
    """Collect the bindings of a body.

    Args:
        statements: The body of a module or class.
        package: The package that relative imports start from.
    """
    body = Body()
    for binding in _walk(statements, package, ()):
        if binding.name == "*":
            body.stars.append(binding)
        else:
            body.names.setdefault(binding.name, []).append(binding)
    return body


def _walk(statements: Sequence[ast.stmt], package: str, when: tuple[Condition, ...]) -> Iterator[Binding]:
    for node in statements:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield Binding(node.name, "definition", node, node.lineno, conditions=when)
            case ast.Import() | ast.ImportFrom():
                yield from _imports(node, package, when)
            case ast.Assign():
                for target in node.targets:
                    yield from _assigned(target, node.value, node.lineno, when)
            case ast.AnnAssign(value=ast.expr() as value):
                yield from _assigned(node.target, value, node.lineno, when)
            case ast.AugAssign(target=ast.Name(id=name)):
                yield Binding(name, "unknown", node, node.lineno, conditions=when)
            case ast.Delete():
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        yield Binding(target.id, "deleted", None, node.lineno, conditions=when)
            case ast.If():
                yield from _walk(node.body, package, (*when, Condition(node, True)))
                yield from _walk(node.orelse, package, (*when, Condition(node, False)))
            case ast.Try():
                for statement, reached in tried(node):
                    yield from _walk([statement], package, (*when, reached))
                for handler in node.handlers:
                    yield from _walk(handler.body, package, (*when, Condition(node, False)))
                yield from _walk(node.orelse, package, (*when, Condition(node, True)))
                yield from _walk(node.finalbody, package, when)
            case ast.With():
                for item in node.items:
                    if item.optional_vars is not None:
                        yield from _unknown(item.optional_vars, node.lineno, when)
                yield from _walk(node.body, package, when)
            case ast.For() | ast.AsyncFor() | ast.While() | ast.Match() | ast.TryStar() | ast.AsyncWith():
                yield from _unknown(node, node.lineno, when)
            case _ if type(node).__name__ == "TypeAlias":  # `type X = ...`, from Python 3.12
                yield from _unknown(node, node.lineno, when)
            case ast.Expr():
                yield from _walrus(node, when)


def tried(node: ast.Try) -> Iterator[tuple[ast.stmt, Condition]]:
    """The statements in the body of a ``try``, each with the condition that it and those before it succeed.

    One that holds others, whose own success is not asked for, has the condition that those before it do.
    """
    for index, statement in enumerate(node.body):
        holds_others = isinstance(statement, ast.If | ast.Try | ast.With)
        body = node.body[: index if holds_others else index + 1]
        part = ast.Try(body=body, handlers=node.handlers, orelse=[], finalbody=[])
        yield statement, Condition(ast.copy_location(part, node), True)


def _imports(node: ast.Import | ast.ImportFrom, package: str, when: tuple[Condition, ...]) -> Iterator[Binding]:
    for alias in node.names:
        if isinstance(node, ast.Import):
            whole = alias.asname is not None
            module = alias.name if whole else alias.name.partition(".")[0]
            yield Binding(alias.asname or module, "import", None, node.lineno, module, conditions=when)
        else:
            module = absolute_module(node, package)
            yield Binding(alias.asname or alias.name, "import", None, node.lineno, module, alias.name, conditions=when)


def absolute_module(node: ast.ImportFrom, package: str) -> str:
    """The module that a ``from`` import names, relative ones seen from ``package``."""
    if not node.level:
        return node.module or ""
    parent = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
    return f"{parent}.{node.module}" if node.module else parent


def _assigned(target: ast.expr, value: ast.expr, line: int, when: tuple[Condition, ...]) -> Iterator[Binding]:
    if isinstance(target, ast.Name):
        yield Binding(target.id, "value", value, line, conditions=when)
    elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        starred = any(isinstance(element, ast.Starred) for element in (*target.elts, *value.elts))
        if len(target.elts) == len(value.elts) and not starred:
            for each, its_value in zip(target.elts, value.elts, strict=True):
                yield from _assigned(each, its_value, line, when)
            return
        yield from _unknown(target, line, when)
    else:
        yield from _unknown(target, line, when)


def _unknown(node: ast.AST, line: int, when: tuple[Condition, ...]) -> Iterator[Binding]:
    """Every name that is bound anywhere in ``node``, as not known."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield Binding(each.id, "unknown", node, line, conditions=when)
        elif isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield Binding(each.name, "unknown", node, line, conditions=when)
        elif isinstance(each, ast.alias):
            name = each.asname or each.name.partition(".")[0]
            yield Binding(name, "unknown", node, line, conditions=when)


def _walrus(node: ast.stmt, when: tuple[Condition, ...]) -> Iterator[Binding]:
    for each in ast.walk(node):
        if isinstance(each, ast.NamedExpr):
            yield Binding(each.target.id, "unknown", node, node.lineno, conditions=when)
