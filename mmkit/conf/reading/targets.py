"""The dotted path that a configuration writes for a class or function: its ``__module__`` and ``__qualname__``."""

import ast

from mmkit.conf.reading.decorators import check_decorators
from mmkit.conf.reading.errors import NoSuchModule, Unreadable
from mmkit.conf.reading.modules import read_module, read_text
from mmkit.conf.reading.names import Definition
from mmkit.conf.reading.values import evaluate


def target_path(definition: Definition) -> str:
    """The path of a class or function as ``hydra_zen.builds`` writes it.

    Raises:
        Unreadable: A decorator may have renamed it.
    """
    node, source = definition.node, definition.source
    if source is None:
        return definition.dotted
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    check_decorators(node, source)
    return f"{_module_attribute(definition, node)}.{definition.qualname}"


def _module_attribute(definition: Definition, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """``__module__``, which a class body, its module or a package around it may set."""
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__module__":
                return str(evaluate(each.value, definition.home))
    name = definition.qualname.partition(".")[0]
    parts = definition.home.name.split(".")
    for length in range(1, len(parts) + 1):
        set_to = _assigned_module(".".join(parts[:length]), name)
        if set_to is not None:
            return set_to
    return definition.module


def _assigned_module(module: str, name: str) -> str | None:
    """What a module sets as the ``__module__`` of a name, if it does. Large packages are only searched, not parsed."""
    try:
        if f"{name}.__module__" not in read_text(module):
            return None
        source = read_module(module)
    except (Unreadable, NoSuchModule):
        return None
    values = [
        each.value
        for each in source.tree.body
        if isinstance(each, ast.Assign) and any(ast.unparse(target) == f"{name}.__module__" for target in each.targets)
    ]
    return str(evaluate(values[-1], source)) if values else None
