"""Registrations and imports in functions and classes that run when a module is imported.

What they do is not followed. If one that could register something is as much as mentioned, importing has to tell.
"""

import ast
from collections.abc import Callable, Collection, Iterator

from mmkit.conf.index.entries import Problem
from mmkit.conf.index.statements import WORDS, Meaning, can_register, registers, run_at_import, statements
from mmkit.conf.reading.bindings import absolute_module
from mmkit.conf.reading.modules import ModuleSource


Brings = Callable[[ast.Import | ast.ImportFrom, ModuleSource], bool]

_HOOKS = ("__init_subclass__", "__class_getitem__", "__mro_entries__")


def hidden(modules: dict[str, ModuleSource], meanings: dict[str, Meaning], brings: Brings) -> Iterator[Problem]:
    """Why modules have to be imported that mention such a function or class, or a name passed on by which one registers.

    Args:
        modules: All that are imported.
        meanings: What their names mean.
        brings: Whether an import in a function brings in something that is not among them and could register something.
    """
    yield from _Hidden(modules, meanings, brings).problems()


class _Hidden:
    def __init__(self, modules: dict[str, ModuleSource], meanings: dict[str, Meaning], brings: Brings) -> None:
        self._modules, self._meanings, self._brings = modules, meanings, brings
        self._hooked = _hooked(modules.values())
        self._risky: set[str] = set()  # last parts of names, as they may be passed on from module to module
        self._lazy: set[str] = set()  # modules with a risky `__getattr__`
        self._passed_on = {f"{name}.{each}" for name in modules for each in meanings[name].registering_names()}
        self._passed_names = {path.rpartition(".")[2] for path in self._passed_on}

    def problems(self) -> Iterator[Problem]:
        self._find_risky()
        names = {*self._risky, *self._passed_names, *(each.rpartition(".")[2] for each in self._lazy)}
        for name, source in self._modules.items():
            if any(each in source.text for each in names):
                for statement, _ in statements(source.tree.body):
                    nodes = list(run_at_import(statement))
                    moot = {id(part) for base in self._plain_bases(nodes) for part in ast.walk(base)}
                    if reason := next(filter(None, (self._reason(node, source) for node in nodes if id(node) not in moot)), None):
                        yield Problem(None, f"{name}, line {statement.lineno}: {reason} may register something")

    def _plain_bases(self, nodes: list[ast.AST]) -> list[ast.expr]:
        """Base classes of which nothing runs when a class is derived from them."""
        bases = [base for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases]
        return [each for each in bases if isinstance(each, ast.Name | ast.Attribute) and _last(each) not in self._hooked]

    def _reason(self, node: ast.AST, source: ModuleSource) -> str | None:
        """What a node, which runs when its module is imported, mentions of what may register something."""
        if isinstance(node, ast.ImportFrom):
            module = absolute_module(node, source.package)
            return next((path for each in node.names if self._is_made_at_run_time(path := f"{module}.{each.name}")), None)
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        paths = self._meanings[source.name].paths(node)
        if isinstance(node, ast.Name) and not paths and node.id in self._passed_names and source.body.stars:
            return node.id
        made = paths & self._passed_on or {path for path in paths if self._is_made_at_run_time(path)}
        return min(made) if made else self._mentioned(node, source)

    def _is_made_at_run_time(self, path: str) -> bool:
        module, _, name = path.rpartition(".")
        return module in self._lazy and path not in self._modules and name not in self._modules[module].body.names

    def _mentioned(self, node: ast.AST, source: ModuleSource) -> str | None:
        """The risky name that a node mentions."""
        if isinstance(node, ast.alias):
            return name if (name := node.name.rpartition(".")[2]) in self._risky else None
        if isinstance(node, ast.Name | ast.Attribute):
            paths = self._meanings[source.name].paths(node) or {_last(node)}
            inside = [path for path in paths if path == _last(node) or path.rpartition(".")[0] in self._modules]
            return next((path for path in inside if path.rpartition(".")[2] in self._risky), None)
        return None

    def _find_risky(self) -> None:
        """Names of what would register or import something if it is called, and of what mentions one of these inside."""
        direct = {name: self._directly_risky(source) for name, source in self._modules.items()}
        self._lazy = {name for name, found in direct.items() if "__getattr__" in found}
        more = {each for found in direct.values() for each in found if each != "__getattr__"}
        while more:
            self._risky |= more
            more = {name for source in self._modules.values() for name in self._risky_by_mention(source)} - self._risky

    def _directly_risky(self, source: ModuleSource) -> set[str]:
        lines, meaning = source.text.splitlines(), self._meanings[source.name]
        words = ("import ", *meaning.registering_names(), *(WORDS if can_register(source) else ()))
        found = set()
        for name, node in _definitions(source):
            # Decorators are before these lines, so that few definitions have such a word and need a closer look.
            text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            if any(word in text for word in words) and any(self._is_direct(each, source, meaning) for each in _inside(node)):
                found.add(name)
        return found

    def _is_direct(self, node: ast.AST, source: ModuleSource, meaning: Meaning) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = absolute_module(node, source.package) if isinstance(node, ast.ImportFrom) else ""
            paths = [f"{module}.{each.name}" if module else each.name for each in node.names]
            return any(map(registers, paths)) or self._brings(node, source)
        if isinstance(node, ast.Attribute) and node.attr in WORDS and not meaning.paths(node):
            return True  # of a module that is imported inside
        return meaning.registers(node)

    def _risky_by_mention(self, source: ModuleSource) -> Iterator[str]:
        if not any(each in source.text for each in self._risky):
            return
        for name, paths in self._meanings[source.name].imported.items():
            if any(path.rpartition(".")[2] in self._risky and path.rpartition(".")[0] in self._modules for path in paths):
                yield name
        for name, node in _definitions(source):
            bases = node.bases if isinstance(node, ast.ClassDef) else []
            if name not in self._risky and any(self._mentioned(each, source) for each in (*bases, *_inside(node))):
                yield name


def _definitions(source: ModuleSource) -> Iterator[tuple[str, ast.stmt]]:
    """The functions and classes of a module, also those that are made under a condition."""
    for name, bindings in source.body.names.items():
        for each in bindings:
            if each.kind in ("definition", "unknown") and isinstance(each.node, ast.stmt):
                yield name, each.node


def _hooked(sources: Collection[ModuleSource]) -> set[str]:
    """Names of classes that do something when others are derived from them."""
    definitions = [node for source in sources for _, node in _definitions(source) if isinstance(node, ast.ClassDef)]
    found = {
        node.name
        for node in definitions
        if node.keywords or any(isinstance(each, ast.FunctionDef) and each.name in _HOOKS for each in node.body)
    }
    while more := {node.name for node in definitions if found & set(map(_last, node.bases))} - found:
        found |= more
    return found


def _last(node: ast.expr) -> str:
    """The last part of ``a.b.c``."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes inside function bodies."""
    run = {id(each) for each in run_at_import(node)}
    return (each for each in ast.walk(node) if id(each) not in run)
