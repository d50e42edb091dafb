"""All registrations that importing a root module would make, found by following the imports that can register something."""

import ast
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from mmkit.conf.index.entries import Entry, Problem, Registrations
from mmkit.conf.index.hidden import hidden
from mmkit.conf.index.registrations import registrations_of
from mmkit.conf.index.statements import Meaning, can_register, run_at_import, statements
from mmkit.conf.reading.bindings import Condition, absolute_module
from mmkit.conf.reading.conditions import holds
from mmkit.conf.reading.errors import NoSuchModule, NoSuchName, Unreadable
from mmkit.conf.reading.modules import ModuleSource, find_module, module_exists, parse
from mmkit.conf.reading.values import module_all


@dataclass(frozen=True)
class _Import:
    module: str
    line: int
    conditions: tuple[Condition, ...]


def read_root(root: str) -> Registrations:
    """What importing ``root`` registers.

    A group's module of mmkit is followed within its package. From a project's package, everything is followed that can
    register something: modules outside of ``site-packages``, and installed packages that depend on mmkit.
    """
    return _Reading(root).result()


class _Reading:
    def __init__(self, root: str) -> None:
        self._root = root
        self._modules: dict[str, ModuleSource] = {}
        self._problems: list[Problem] = []
        self._conditional: set[str] = set()
        self._follows: Callable[[str], bool] = _within(root) if root.partition(".")[0] == "mmkit" else _can_register(root)

    def result(self) -> Registrations:
        self._read(self._root, "")
        entries: list[Entry] = []
        meanings = {name: Meaning(source) for name, source in self._modules.items()}
        for name, source in self._modules.items():
            for each in registrations_of(source, meanings[name]):
                if isinstance(each, Entry):
                    entries.append(each)
                else:
                    self._problems.append(each)
        self._problems += hidden(self._modules, meanings, self._brings)
        self._problems += _twice(entries)
        return Registrations(tuple(entries), tuple(self._problems), tuple(sorted(self._conditional)))

    def _read(self, first: str, why: str) -> None:
        """Read a module, the packages around it, and all that they import."""
        waiting = [(first, why)]
        while waiting:
            name, where = waiting.pop()
            for part in _and_packages(name):
                if part not in self._modules and self._follows(part):
                    source = self._source(part, where)
                    if source is not None:
                        self._modules[part] = source
                        waiting += [(each.module, f"{part}, line {each.line}: ") for each in self._imports(source)]

    def _source(self, name: str, where: str) -> ModuleSource | None:
        try:
            path = find_module(name)
            return parse(path, name) if path.suffix == ".py" else None  # a directory without __init__.py runs nothing
        except (Unreadable, NoSuchModule, OSError) as error:
            self._problems.append(Problem(None, f"{where}{error}"))
            return None

    def _brings(self, node: ast.Import | ast.ImportFrom, source: ModuleSource) -> bool:
        """Whether an import in a function brings in a module that is not read and could register something, however it runs."""
        waiting, seen = list(_named(node, source, (), self._follows)), set(self._modules)
        while waiting:
            for name in _and_packages(waiting.pop().module):
                if name in seen or not self._follows(name):
                    continue
                seen.add(name)
                self._conditional.add(name.partition(".")[0])
                try:
                    path = find_module(name)
                    found = parse(path, name) if path.suffix == ".py" else None
                except NoSuchModule:
                    continue  # where there is nothing, nothing registers
                except (Unreadable, OSError):
                    return True
                if found is not None and can_register(found):
                    return True
                if found is not None:
                    waiting += [each for part in ast.walk(found.tree) for each in _named(part, found, (), self._follows)]
        return False

    def _imports(self, source: ModuleSource) -> Iterator[_Import]:
        for each in _imports_of(source, self._follows):
            if each.conditions:
                self._conditional.add(each.module.partition(".")[0])
            if self._follows(each.module):
                try:
                    if all(holds(condition, source) for condition in each.conditions):
                        yield each
                except (Unreadable, NoSuchModule, NoSuchName) as error:
                    self._problems.append(Problem(None, f"{source.name}, line {each.line}: {error}"))


def _and_packages(module: str) -> list[str]:
    """The packages around a module, outermost first, and it itself."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _imports_of(source: ModuleSource, follows: Callable[[str], bool]) -> Iterator[_Import]:
    """The modules that a module imports when it is imported."""
    for statement, conditions in statements(source.tree.body):
        for node in run_at_import(statement):
            yield from _named(node, source, conditions, follows)


def _named(
    node: ast.AST, source: ModuleSource, conditions: tuple[Condition, ...], follows: Callable[[str], bool]
) -> Iterator[_Import]:
    if isinstance(node, ast.Import):
        yield from (_Import(alias.name, node.lineno, conditions) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = absolute_module(node, source.package)
        yield _Import(module, node.lineno, conditions)
        for alias in node.names if follows(module) else ():
            names = _starred(module) if alias.name == "*" else [alias.name]
            yield from (_Import(f"{module}.{name}", node.lineno, conditions) for name in names if _is_submodule(module, name))


def _starred(module: str) -> list[str]:
    try:
        path = find_module(module)
        return module_all(parse(path, module)) or [] if path.name == "__init__.py" else []
    except (Unreadable, NoSuchModule, OSError):
        return []  # reading the module itself says what is wrong with it


def _is_submodule(module: str, name: str) -> bool:
    if module.partition(".")[0] in sys.stdlib_module_names:
        return False
    return module_exists(f"{module}.{name}")


def _within(root: str) -> Callable[[str], bool]:
    """Whether a module is in the package of ``root``."""
    package = root if find_module(root).name == "__init__.py" else root.rpartition(".")[0]
    return lambda name: name == package or name.startswith(f"{package}.")


def _can_register(root: str) -> Callable[[str], bool]:
    """Whether a module can register components of a project: it is its own, not installed, or installed and made for mmkit.

    An installed library that registers components depends on mmkit, and says so; torch would take minutes to follow.
    """
    own = root.partition(".")[0]

    @cache
    def top_level(name: str) -> bool:
        if name == own:
            return True
        if name in sys.stdlib_module_names or name == "mmkit":
            return False
        try:
            return any(re.match(r"mmkit\b", requirement) for requirement in requires(name) or ())
        except PackageNotFoundError:
            return not _is_installed(name)

    return lambda name: top_level(name.partition(".")[0])


def _is_installed(name: str) -> bool:
    try:
        path = find_module(name)
    except Unreadable:  # compiled
        return True
    except NoSuchModule:
        return False
    places = {Path(sysconfig.get_path(scheme)).resolve() for scheme in ("purelib", "platlib", "stdlib")}
    return any(parent.name in ("site-packages", "dist-packages") or parent in places for parent in path.parents)


def _twice(entries: list[Entry]) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        if (entry.group, entry.name) in seen:
            yield Problem(entry.group, f"{entry.module}, line {entry.line}: {entry.name} is registered twice")
        seen.add((entry.group, entry.name))
