"""Projects: folders with a ``configs`` package, found beside mmkit and in the current directory."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


PROJECTS_VARIABLE = "MMKIT_PROJECTS"  # tells jobs that a launcher starts elsewhere which packages to import

_imported_roots: list[str] = []
_used: list["Project"] = []


@dataclass(frozen=True)
class Project:
    """A folder whose ``configs`` package registers components and holds experiments.

    Attributes:
        root: Folder that must be on ``sys.path`` for the project to import.
        package: Dotted name of its ``configs`` package, e.g. ``"projects.emoji_clip.configs"``.
    """

    root: Path
    package: str

    @property
    def configs(self) -> Path:
        return self.root.joinpath(*self.package.split("."))

    def experiments(self) -> list[str]:
        """Names as typed after ``experiment=``, sorted."""
        folder = self.configs / "experiment"
        return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def project_of(configs: Path) -> Project:
    """The project of a ``configs`` folder, importable together with the folder around it.

    ``my_project/configs`` is imported as ``my_project.configs``, so that its modules can import ``my_project.data``;
    a folder whose name is no identifier can only offer ``configs``.
    """
    configs = configs.resolve()
    if configs.parent.name.isidentifier():
        return Project(configs.parent.parent, f"{configs.parent.name}.{configs.name}")
    return Project(configs.parent, configs.name)


def import_from(folder: Path) -> None:
    """Let modules be imported from a folder; the current directory comes first, as with ``python -m``."""
    if str(folder) not in sys.path:
        sys.path.insert(0 if folder == Path.cwd() else len(sys.path), str(folder))
    if str(folder.absolute()) not in _imported_roots:
        _imported_roots.append(str(folder.absolute()))


def imported_roots() -> list[str]:
    """The folders given to ``import_from``: what a run needs on its path when it is started again from elsewhere."""
    return list(_imported_roots)


def use(project: Project) -> None:
    """Let a project take part: its registrations are read from source, and its package is imported when a run starts."""
    import_from(project.root)
    if project not in _used:
        _used.append(project)
        os.environ[PROJECTS_VARIABLE] = json.dumps(used_packages())


def used_projects() -> list[Project]:
    """The projects that take part, in the order in which they joined."""
    return list(_used)


def used_packages() -> list[list[str]]:
    """Root and package of the projects that take part, as JSON takes them: what a run needs to be started again."""
    return [[str(project.root), project.package] for project in _used]


def import_packages() -> None:
    """Import the packages of the projects that take part, for what they do besides registering: modalities, resolvers.

    Called when a run starts; previews do without. In a job that a launcher has started elsewhere, the environment names them.
    """
    told = [] if _used else json.loads(os.environ.get(PROJECTS_VARIABLE) or "[]")
    for project in [*_used, *(Project(Path(root), package) for root, package in told)]:
        import_from(project.root)
        import_module(project.package)


def experiment_names(arguments: Sequence[str]) -> list[str]:
    """The experiments that the command line names; a sweep can name several."""
    named = [argument.lstrip("+").partition("=")[2] for argument in arguments if argument.lstrip("+").startswith("experiment=")]
    return [name for names in named for name in names.strip("[]").split(",")]


def search_path(arguments: Sequence[str], projects: Sequence[Project]) -> list[str]:
    """Where Hydra looks for the experiments that the command line names; their projects take part from here on.

    The entries are folders, not packages (``pkg://``), which Hydra would import.
    """
    names = experiment_names(arguments)
    found = [next((project for project in projects if name in project.experiments()), None) for name in names]
    named = list(dict.fromkeys(project for project in found if project is not None))
    for project in named:
        use(project)
    return [f"file://{project.configs}" for project in named]


def with_folders(arguments: Sequence[str]) -> list[str]:
    """Arguments with the packages of ``hydra.searchpath`` as folders, which Hydra does not import; their projects take part."""
    return [
        _with_folders(argument) if argument.lstrip("+").startswith("hydra.searchpath=") else argument for argument in arguments
    ]


def _with_folders(argument: str) -> str:
    from hydra.core.override_parser.overrides_parser import OverridesParser  # the grammar takes long to import

    value = OverridesParser.create().parse_override(argument).value()
    if not isinstance(value, list):
        return argument
    entries = [_entry(str(entry)) for entry in value]
    if entries == value:
        return argument
    quoted = ["'" + entry.replace("'", "\\'") + "'" for entry in entries]
    return f"{argument.partition('=')[0]}=[{','.join(quoted)}]"


def _entry(entry: str) -> str:
    """An entry of the search path; what no folder is found for stays as it is, for Hydra to import or to refuse."""
    if entry.startswith("file://"):
        folder = Path(entry.removeprefix("file://"))
        if (folder / "__init__.py").is_file():
            use(project_of(folder))
        return entry
    package = entry.removeprefix("pkg://").replace("/", ".").rstrip(".")
    root = _root_of(package) if entry.startswith("pkg://") else None
    if root is None:
        return entry
    project = Project(root, package)
    use(project)
    return f"file://{project.configs}"


def _root_of(package: str) -> Path | None:
    """The folder of ``sys.path`` from which the package would be imported, found without importing its parents."""
    parts = package.split(".")
    for root in map(Path, sys.path):
        found = root.joinpath(*parts, "__init__.py").is_file()
        if found or (root / parts[0] / "__init__.py").is_file():  # a regular package hides those of its name further on
            return root.absolute() if found else None
    return None


def find_projects(folder: Path | None = None) -> list[Project]:
    """Projects of ``folder`` (default: the current directory), then those shipped with mmkit."""
    found: dict[Path, Project] = {}
    for project in _candidates(folder or Path.cwd()):
        if (project.configs / "__init__.py").is_file():
            found.setdefault(project.configs.resolve(), project)
    return list(found.values())


def _candidates(folder: Path) -> Iterator[Project]:
    yield project_of(folder / "configs")
    yield from (Project(folder, f"{path.parent.name}.configs") for path in sorted(folder.glob("*/configs")))
    for root in (folder, Path(__file__).parents[2]):  # the repository, or site-packages for an installed mmkit
        yield from (Project(root, f"projects.{path.parent.name}.configs") for path in sorted(root.glob("projects/*/configs")))
