"""What is registered: by mmkit's modules, and by the packages of the projects that take part."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from mmkit.conf.groups import GROUP_MODULES, modules_of
from mmkit.conf.index.coding import decode_registrations, encode_registrations
from mmkit.conf.index.entries import Entry, Registrations
from mmkit.conf.index.memo import remembered
from mmkit.conf.index.signatures import forget_signatures
from mmkit.conf.index.stamps import forget_places
from mmkit.conf.projects import Project, use, used_projects


_read: dict[str, Registrations] = {}


def add_package(package: str, root: str | Path) -> None:
    """Let the components of a project's package take part, without importing it.

    Args:
        package: Its dotted name, e.g. ``my_project.configs``.
        root: The folder that must be on ``sys.path`` for the package to import.
    """
    use(Project(Path(root), package))


def groups() -> list[str]:
    """All groups that have entries, or may have: what some module registers can only be told by importing it."""
    found = set(GROUP_MODULES)
    for root in _packages():
        registered = _registrations(root)
        found |= {entry.group for entry in registered.entries}
        found |= {problem.group for problem in registered.problems if problem.group is not None}
    return sorted(found)


def entries(group: str) -> list[Entry]:
    """The options of a group, by name, whether their modules are imported or not.

    What cannot be read is imported; of that, and of what a script has registered itself, only name and target are told.
    """
    fill_unreadable(group)
    found = {entry.name: entry for entry in readable(group)}
    for entry in _from_store(group):
        found.setdefault(entry.name, entry)
    return sorted(found.values(), key=lambda entry: entry.name)


def find(group: str, name: str) -> Entry | None:
    """One option of a group; None if there is none of this name."""
    return next((entry for entry in entries(group) if entry.name == name), None)


def unreadable(group: str | None = None) -> list[str]:
    """Why modules have to be imported to know what they register, in this group or in any."""
    roots = _roots(group) if group else [*dict.fromkeys(GROUP_MODULES.values()), *_packages()]
    problems = [problem for root in roots for problem in _registrations(root).problems]
    return [problem.reason for problem in problems if group is None or problem.group in (None, group)]


def readable(group: str) -> Iterator[Entry]:
    """What source tells about a group."""
    for root in _roots(group):
        yield from (entry for entry in _registrations(root).entries if entry.group == group)


def fill_unreadable(group: str) -> None:
    """Import, once, what registers options of a group in a way that cannot be read; also where two have the same name."""
    roots = _roots(group)
    names = [entry.name for entry in readable(group)]
    twice = len(names) > len(set(names))
    for root in roots:
        concerned = any(problem.group in (None, group) for problem in _registrations(root).problems)
        if twice or concerned:
            import_module(root)


def forget() -> None:
    """Read everything anew: for programs that go on while sources change, such as tests."""
    _read.clear()
    forget_places()
    forget_signatures()


def _registrations(root: str) -> Registrations:
    if root not in _read:
        _read[root] = remembered(
            "registrations",
            root,
            lambda: _from_source(root),
            encode_registrations,
            lambda coded, sources: decode_registrations(coded),
            lambda found: found.conditional,
        )
    return _read[root]


def _from_source(root: str) -> Registrations:
    from mmkit.conf.index.roots import read_root  # not needed if a memo answers

    return read_root(root)


def _roots(group: str) -> list[str]:
    return [*modules_of(group), *_packages()]


def _packages() -> list[str]:
    return [project.package for project in used_projects()]


def _from_store(group: str) -> Iterator[Entry]:
    """What Hydra's store holds in a group, if something has been registered at all."""
    if "hydra.core.config_store" not in sys.modules:
        return
    from hydra.core.config_store import ConfigStore

    options = ConfigStore.instance().repo
    for part in group.split("/"):
        options = options.get(part, {})
    for file_name, option in options.items():
        if not isinstance(option, dict):
            where = {"package": option.package, "provider": option.provider, "file": "", "line": 0, "module": ""}
            target = str(option.node.get("_target_", ""))
            name = file_name.removesuffix(".yaml")
            yield Entry(group, name, target, {}, None, **where, unreadable="it is registered while the program runs")
