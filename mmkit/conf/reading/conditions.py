"""Whether statements under an ``if`` or ``try`` at the top level of a module run when it is imported."""

import ast

from mmkit.conf.reading.bindings import Condition, absolute_module
from mmkit.conf.reading.errors import NoSuchModule, Unreadable
from mmkit.conf.reading.modules import ModuleSource, module_exists
from mmkit.conf.reading.names import lookup_in_module
from mmkit.conf.reading.values import evaluate


_HARMLESS = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Pass)
_IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def holds(condition: Condition, source: ModuleSource) -> bool:
    """Whether the statements under a condition run.

    Raises:
        Unreadable: Only importing would tell.
    """
    if isinstance(condition.node, ast.If):
        return bool(evaluate(condition.node.test, source, before=condition.node.lineno)) is condition.expected
    return _succeeds(condition.node, source) is condition.expected


def _succeeds(node: ast.Try, source: ModuleSource) -> bool:
    """Whether the body of a ``try`` around imports runs to its end."""
    for statement in node.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            if not _importable(statement, source):
                if _handles_import_errors(node):
                    return False
                raise Unreadable(f"{source.name} does not import (line {statement.lineno})")
        elif not isinstance(statement, _HARMLESS) and not _plain_assignment(statement, source):
            raise Unreadable(f"{source.name}: whether the `try` in line {node.lineno} succeeds")
    return True


def _importable(node: ast.Import | ast.ImportFrom, source: ModuleSource) -> bool:
    if isinstance(node, ast.Import):
        return all(module_exists(alias.name) for alias in node.names)
    module = absolute_module(node, source.package)
    if not module_exists(module):
        return False
    return all(alias.name == "*" or module == source.name or _has(module, alias.name) for alias in node.names)


def _has(module: str, name: str) -> bool:
    try:
        return lookup_in_module(module, name) is not None
    except NoSuchModule:
        return False


def _handles_import_errors(node: ast.Try) -> bool:
    caught: set[str] = set()
    for handler in node.handlers:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        caught |= {"Exception" if each is None else ast.unparse(each) for each in types}
    return bool(caught & _IMPORT_ERRORS)


def _plain_assignment(statement: ast.stmt, source: ModuleSource) -> bool:
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        try:
            evaluate(statement.value, source, before=statement.lineno)
        except Unreadable:
            return False
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
