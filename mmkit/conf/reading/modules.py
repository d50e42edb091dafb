"""Find the file of a module and read it, without importing anything."""

import ast
import gc
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from mmkit.conf.reading.bindings import Body, bindings_of
from mmkit.conf.reading.errors import Compiled, NoSuchModule, Unreadable, close_names


@dataclass(frozen=True, eq=False)
class ModuleSource:
    """A module as it is written.

    Attributes:
        name: Dotted name.
        path: Its file.
        tree: Its syntax tree.
        text: Its text.
    """

    name: str
    path: Path
    tree: ast.Module
    text: str

    @property
    def is_package(self) -> bool:
        return self.path.stem == "__init__"

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def body(self) -> Body:
        """What its statements bind."""
        return bindings_of(self.tree.body, self.package)

    @cached_property
    def delayed_annotations(self) -> bool:
        """Whether ``from __future__ import annotations`` turns its annotations into text."""
        imports = [node for node in self.tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        return any(alias.name == "annotations" for node in imports for alias in node.names)

    @cached_property
    def makes_names_at_run_time(self) -> bool:
        """Whether it may have names that no statement binds: a module ``__getattr__``, writes to ``globals()`` and the like."""
        return "__getattr__" in self.body.names or _DYNAMIC.search(self.text) is not None


_DYNAMIC = re.compile(
    r"\bglobals\(\)|\blocals\(\)|\bvars\(\)\[|\bsys\.modules\[|^\s*exec\("
    r"|^[\w.]+\(\s*__name__\b",  # a function that is told which module to extend
    re.MULTILINE,
)
_parsed: dict[tuple[Path, str], tuple[tuple[int, int], ModuleSource]] = {}
_texts: dict[Path, tuple[tuple[int, int], str]] = {}
_found: dict[tuple[str, ...], "_Located"] = {}
_recorders: list[set[Path]] = []
_roots: list[str] = []


@contextmanager
def recording() -> Iterator[set[Path]]:
    """Collect the files that are read meanwhile, also those already in memory, and the folders where a module was not found."""
    paths: set[Path] = set()
    _recorders.append(paths)
    try:
        yield paths
    finally:
        _recorders.pop()  # not `remove`, which would take another with the same files


def search_also(directory: str | Path) -> None:
    """Look for modules in this directory too, after ``sys.path``, from now on."""
    if str(directory) not in _roots:
        _roots.append(str(directory))


def find_module(dotted: str, roots: Sequence[str | Path] = ()) -> Path:
    """The file of a module, or the directory of a package without ``__init__.py``.

    Args:
        dotted: Name of the module.
        roots: Directories that are searched besides ``sys.path``, after it.

    Raises:
        NoSuchModule: It is not on the search path.
        Unreadable: It is compiled, or comes from something other than a file.
    """
    spec = _find_spec(dotted, roots)
    if spec.origin is None and spec.submodule_search_locations is not None:
        return Path(_locate(dotted, roots).inside[0])
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise Compiled(f"{dotted} is compiled ({spec.origin})")
    return Path(spec.origin)


def module_exists(dotted: str) -> bool:
    """Whether there is such a module, readable or not."""
    return _locate(dotted, ()).spec is not None


def read_module(dotted: str, roots: Sequence[str | Path] = ()) -> ModuleSource:
    """Find and read a module.

    Raises:
        NoSuchModule: It is not on the search path.
        Unreadable: It is compiled, a directory without ``__init__.py``, or not valid Python.
    """
    path = find_module(dotted, roots)
    if path.suffix != ".py":
        raise Unreadable(f"{dotted} is a directory without __init__.py")
    return parse(path, dotted)


def read_text(dotted: str) -> str:
    """The text of a module, without parsing it.

    Raises:
        NoSuchModule: It is not on the search path.
        Unreadable: It is compiled, or a directory without ``__init__.py``.
    """
    path = find_module(dotted)
    if path.suffix != ".py":
        raise Unreadable(f"{dotted} is a directory without __init__.py")
    _record(path)
    stamp = _stamp(path)
    kept = _texts.get(path)
    if kept is None or kept[0] != stamp:
        kept = _texts[path] = (stamp, path.read_text(errors="replace"))
    return kept[1]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _record(path: Path) -> None:
    for recorder in _recorders:
        recorder.add(path)


def parse(path: Path, name: str) -> ModuleSource:
    """Read a file; kept in memory until its time stamp or size changes.

    Raises:
        Unreadable: It is not valid Python.
    """
    stamp = _stamp(path)
    kept = _parsed.get((path, name))
    if kept is None or kept[0] != stamp:
        kept = _parsed[path, name] = (stamp, _parse(path, name))
    _record(path)
    return kept[1]


def _parse(path: Path, name: str) -> ModuleSource:
    data = path.read_bytes()
    collecting = gc.isenabled()
    gc.disable()  # tens of thousands of nodes that all stay: collections meanwhile would double the time
    try:
        return ModuleSource(name, path, ast.parse(data, str(path)), data.decode(errors="replace"))
    except (SyntaxError, ValueError) as error:
        raise Unreadable(f"{path} is not valid Python: {error}") from error
    finally:
        if collecting:
            gc.enable()


def submodules(dotted: str) -> list[str]:
    """Names of the modules that lie in a package."""
    located = _locate(dotted, ())
    folders = [folder for each in located.inside if located.spec and (folder := Path(each)).is_dir()]
    files = [path for folder in folders for path in folder.iterdir()]
    packages = [path.name for path in files if path.is_dir() and path.name.isidentifier()]
    return sorted({*packages, *(path.stem for path in files if path.suffix == ".py" and path.stem != "__init__")})


def _find_spec(dotted: str, roots: Sequence[str | Path]) -> ModuleSpec:
    located = _locate(dotted, roots)
    if located.spec is not None:
        return located.spec
    parent, _, name = located.reached.rpartition(".")
    if not parent:
        raise NoSuchModule(name, True, close_names(name, _top_level_names(roots)))
    raise NoSuchModule(located.reached, False, close_names(name, submodules(parent)))


@dataclass(frozen=True)
class _Located:
    reached: str  # the module, or the first part of its path that does not exist
    spec: ModuleSpec | None
    inside: list[str]  # the directories of the package; if the module does not exist, of the one in which it would lie


def _locate(dotted: str, roots: Sequence[str | Path]) -> _Located:
    """Find a module; what was found before is taken as long as its file exists and the search path is the same."""
    key = (dotted, os.getcwd(), *map(str, roots), *_roots, *sys.path)
    kept = _found.get(key)
    if kept is None or kept.spec is None or not os.path.exists(kept.spec.origin or ""):
        kept = _found[key] = _search(dotted, roots)
    if kept.spec is None:
        for folder in kept.inside:
            _record(Path(folder))
    return kept


def _search(dotted: str, roots: Sequence[str | Path]) -> _Located:
    top, *rest = dotted.split(".")
    spec, name = _find_top(top, roots), top
    inside = _inside(spec, [*sys.path, *_roots, *map(str, roots)], top)
    for part in rest:
        if spec is None:
            break
        name = f"{name}.{part}"
        # by its last name: a namespace package with a dot in its name asks for its parent, which is not imported
        spec = PathFinder.find_spec(part, inside) if inside else None
        inside = _inside(spec, inside, part) if spec is not None else inside
    return _Located(name, spec, inside)


def _inside(spec: ModuleSpec | None, parents: Sequence[str], name: str) -> list[str]:
    """The directories of a package. Those of a namespace package cannot be asked for before its parent is imported."""
    if spec is None or spec.submodule_search_locations is None:
        return []
    if spec.origin is None:
        return [path for path in (os.path.join(parent, name) for parent in parents) if os.path.isdir(path)]
    return list(spec.submodule_search_locations)


def _find_top(name: str, roots: Sequence[str | Path]) -> ModuleSpec | None:
    finders: list[Any] = [BuiltinImporter, FrozenImporter] if name in sys.builtin_module_names else []
    # Finders of editable installs only say where a package is; hooks of others, mmkit's own too, may act when asked.
    editable = [each for each in sys.meta_path if getattr(each, "__module__", "").startswith("__editable__")]
    for finder in (*finders, PathFinder, *editable):
        spec = finder.find_spec(name, None)
        if spec is not None:
            return spec
    return PathFinder.find_spec(name, [*_roots, *map(str, roots)])


def _top_level_names(roots: Sequence[str | Path]) -> set[str]:
    """Names of what can be imported; to suggest a name for one that cannot."""
    directories = [Path(entry or ".") for entry in (*sys.path, *_roots, *roots)]
    found = {path.stem for each in directories if each.is_dir() for path in each.iterdir() if path.suffix in ("", ".py")}
    return {name for name in found if name.isidentifier()}
