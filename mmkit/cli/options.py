"""The options of config groups: components, and YAML files in the folders of configs. Nothing is imported or composed."""

from collections.abc import Iterable
from pathlib import Path

from mmkit.cli.shipped import shipped_configs
from mmkit.conf.index import entries, groups
from mmkit.conf.projects import Project


EXPERIMENTS = "experiment"


def option_names(group: str, folders: Iterable[Path] = ()) -> list[str]:
    """Names that can be typed after ``group=``, sorted.

    Args:
        group: A config group; also one that only has files.
        folders: Where configs are looked for.
    """
    found = set() if group == EXPERIMENTS else {entry.name for entry in entries(group)}
    return sorted(found | set(option_files(group, folders)))


def option_files(group: str, folders: Iterable[Path]) -> dict[str, Path]:
    """The options of a group that are YAML files, by name; of two with one name, the first."""
    found: dict[str, Path] = {}
    for folder in folders:
        below = folder / group
        # an experiment may be named with its folder, an option of another group not: that is a group of its own
        for path in sorted(below.rglob("*.yaml") if group == EXPERIMENTS else below.glob("*.yaml")):
            found.setdefault(path.relative_to(below).with_suffix("").as_posix(), path)
    return found


def group_names(folders: Iterable[Path] = ()) -> list[str]:
    """All groups of components and of files, sorted, without Hydra's own and without experiments."""
    of_files = {path.parent.relative_to(folder).as_posix() for folder in folders for path in folder.glob("*/**/*.yaml")}
    return sorted({*groups(), *(group for group in of_files if group.partition("/")[0] not in (EXPERIMENTS, "hydra"))})


def folders_of(search_path: Iterable[str]) -> list[Path]:
    """The folders among the entries of a search path."""
    return [Path(entry.removeprefix("file://")) for entry in search_path if entry.startswith("file://")]


def config_folders(projects: Iterable[Project]) -> list[Path]:
    """Where configs are: in projects, and what mmkit ships."""
    return [*(project.configs for project in projects), *folders_of(shipped_configs())]
