"""Projects: folders with a ``configs`` package, found beside mmkit and in the current directory."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


_imported_roots: list[str] = []


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
