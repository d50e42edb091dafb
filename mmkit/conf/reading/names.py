"""What a dotted name stands for: followed through imports, re-exports and class bodies, without importing anything."""

import ast
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from mmkit.conf.reading.bindings import Binding
from mmkit.conf.reading.errors import NoSuchModule, NoSuchName, Unreadable, close_names
from mmkit.conf.reading.modules import ModuleSource, find_module, module_exists, read_module, submodules


@dataclass(frozen=True)
class Definition:
    """Where a name is defined.

    Attributes:
        kind: ``value`` is an assignment at module level, ``attribute`` one in a class.
        module: Module that holds the definition.
        qualname: Its name in the module, with dots inside a class; empty for a module.
        node: The class, function or assigned expression; None for a module.
        source: The module that holds the definition; None for a module that is itself what the name stands for.
        owner: The class around a nested class, method or attribute.
    """

    kind: Literal["module", "class", "function", "value", "method", "attribute"]
    module: str
    qualname: str
    node: ast.AST | None
    source: ModuleSource | None
    owner: "Definition | None" = None

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.qualname}" if self.qualname else self.module

    @property
    def class_node(self) -> ast.ClassDef:
        assert isinstance(self.node, ast.ClassDef)
        return self.node

    @property
    def home(self) -> ModuleSource:
        """The module that holds the definition, which is not itself a module."""
        assert self.source is not None
        return self.source


def resolve(dotted: str) -> Definition:
    """Find what a dotted path stands for, the way Hydra's ``_target_`` does, but without importing.

    Raises:
        NoSuchModule: The package is not installed, or a part in the middle does not exist.
        NoSuchName: The last module or class of the path has no such name.
        Unreadable: Only importing would tell.
    """
    module, names = _split(dotted)
    if not names:
        return _module(module)
    try:
        found = lookup_in_module(module, names[0])
    except Unreadable as error:
        if error.suspect is not None and len(names) > 1:
            error.suspect = partial(_no_such_part, module, names[0])
        raise
    if found is None:
        raise _no_such_part(module, names[0]) if len(names) > 1 else _no_such_name(dotted, module, names[0])
    for name in names[1:]:
        found = member(found, name)
    return found


def member(owner: Definition, name: str) -> Definition:
    """What ``owner.name`` stands for.

    Raises:
        NoSuchName: The module or class has no such name.
        Unreadable: Only importing would tell.
    """
    if owner.kind == "module":
        found = lookup_in_module(owner.module, name)
        if found is None:
            raise _no_such_name(f"{owner.module}.{name}", owner.module, name)
        return found
    if owner.kind == "class":
        from mmkit.conf.reading.classes import class_member  # classes follow names, and their members are names

        return class_member(owner, name)
    raise Unreadable(f"{owner.dotted}.{name}: an attribute of a {owner.kind}")


def lookup_in_module(module: str, name: str) -> Definition | None:
    """What a module's attribute stands for: a name of its own, or else a module inside it; None if there is neither.

    Raises:
        NoSuchModule: There is no such module.
        Unreadable: Only importing would tell.
    """
    try:
        source = read_module(module)
    except Unreadable:
        if module_exists(f"{module}.{name}"):
            return _module(f"{module}.{name}")
        raise
    try:
        found = lookup(source, name)
    except Unreadable as error:
        if error.suspect is None and name not in source.body.names:
            error.suspect = partial(_no_such_name, f"{module}.{name}", module, name)
        raise
    if found is None and source.is_package and module_exists(f"{module}.{name}"):
        return _module(f"{module}.{name}")
    if found is None and source.makes_names_at_run_time:
        suspect = partial(_no_such_name, f"{module}.{name}", module, name)
        raise Unreadable(f"{module} makes some of its names when it is imported", suspect)
    return found


def lookup(source: ModuleSource, name: str, before: int | None = None) -> Definition | None:
    """What a name stands for at the top level of a module; None if no statement binds it.

    Args:
        source: The module.
        name: The name, without dots.
        before: Line that the binding must precede; None takes the last one.

    Raises:
        Unreadable: Only importing would tell.
    """
    if (source.name, name) in _in_progress:  # modules that import each other
        return None
    _in_progress.append((source.name, name))
    try:
        return _lookup(source, name, before)
    finally:
        _in_progress.pop()


_in_progress: list[tuple[str, str]] = []


def _lookup(source: ModuleSource, name: str, before: int | None) -> Definition | None:
    bindings = [each for each in source.body.names.get(name, []) if before is None or each.line < before]
    stars = [each for each in source.body.stars if before is None or each.line < before]
    for binding in sorted([*bindings, *stars], key=lambda each: each.line, reverse=True):
        if not _applies(binding, source):
            continue
        if binding.name == "*":
            found = _from_star(binding, name, source)
            if found is not None:
                return found
        else:
            return None if binding.kind == "deleted" else _followed(binding, source)
    return None


def _split(dotted: str) -> tuple[str, list[str]]:
    """The longest module that begins the path, and the names after it."""
    parts = dotted.split(".")
    if not all(part.isidentifier() for part in parts):
        raise NoSuchModule(dotted, False)
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        if module_exists(module):
            return module, parts[length:]
    _must_exist(parts[0])
    return parts[0], []


def _must_exist(module: str) -> None:
    with suppress(Unreadable):
        find_module(module)


def _module(dotted: str) -> Definition:
    return Definition("module", dotted, "", None, None)


def _applies(binding: Binding, source: ModuleSource) -> bool:
    from mmkit.conf.reading.conditions import holds  # conditions are values, which follow names

    return all(holds(condition, source) for condition in binding.conditions)


def _followed(binding: Binding, source: ModuleSource) -> Definition | None:
    match binding.kind:
        case "definition":
            kind = "class" if isinstance(binding.node, ast.ClassDef) else "function"
            return Definition(kind, source.name, binding.name, binding.node, source)
        case "value":
            return _of_value(binding, source)
        case "import" if binding.attribute is None:
            return _module(binding.module)
        case "import":
            return _imported(binding.module, str(binding.attribute), source)
    raise Unreadable(f"{source.name}.{binding.name} is set in a way that is not followed (line {binding.line})")


def _of_value(binding: Binding, source: ModuleSource) -> Definition:
    """Another name for a definition is followed; anything else is a value."""
    node = binding.node
    value = Definition("value", source.name, binding.name, node, source)
    if isinstance(node, ast.Name) and node.id != binding.name:
        return lookup(source, node.id, before=binding.line) or value
    if isinstance(node, ast.Attribute):
        from mmkit.conf.reading.values import definition_of  # values follow names

        with suppress(Unreadable):
            found = definition_of(node, source, before=binding.line)
            if found is not None and found.kind in ("class", "function", "module"):
                return found
    return value


def _imported(module: str, name: str, source: ModuleSource) -> Definition | None:
    if module == source.name:  # a package that imports its own modules
        return _module(f"{module}.{name}") if module_exists(f"{module}.{name}") else None
    return lookup_in_module(module, name)


def _from_star(binding: Binding, name: str, source: ModuleSource) -> Definition | None:
    starred = read_module(binding.module)
    from mmkit.conf.reading.values import module_all  # values follow names

    names = module_all(starred)
    if names is not None and name not in names:
        return None
    if names is None and name.startswith("_"):
        return None
    return lookup_in_module(starred.name, name) if names is not None else lookup(starred, name)


def _no_such_name(dotted: str, module: str, name: str) -> NoSuchName:
    return NoSuchName(dotted, module, close_names(name, [*_names_of(module), *submodules(module)]))


def _no_such_part(module: str, name: str) -> NoSuchModule:
    return NoSuchModule(f"{module}.{name}", False, close_names(name, [*submodules(module), *_names_of(module)]))


def _names_of(module: str) -> list[str]:
    try:
        return _names_in(read_module(module))
    except Unreadable:
        return []


def _names_in(source: ModuleSource, seen: frozenset[str] = frozenset()) -> list[str]:
    from mmkit.conf.reading.values import module_all  # values follow names

    names = list(source.body.names)
    with suppress(Unreadable):
        names += module_all(source) or []  # a module that makes names at run time may list them
    for star in source.body.stars:
        if star.module not in seen:
            with suppress(Unreadable, NoSuchModule):
                if _applies(star, source):  # for type checkers only, transformers names hundreds of modules
                    names += _names_in(read_module(star.module), seen | {source.name, star.module})
    return names
