"""Where configs are looked for: experiments, search paths, folders."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.override_parser.types import ChoiceSweep, Glob

from mmkit.cli.preflight.arguments import parsed
from mmkit.cli.preflight.mistakes import Mistake
from mmkit.cli.preflight.names import closest
from mmkit.conf.projects import Project


_SEARCH_PATH = "hydra.searchpath"


@dataclass
class Places:
    """What the command line says about where to look.

    Attributes:
        overrides: The overrides besides.
        entries: The entries of ``hydra.searchpath`` that exist.
        mistakes: What is wrong with the others.
    """

    overrides: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


def read_places(overrides: Sequence[str], projects: Sequence[Project]) -> Places:
    """Tell the search path from the other overrides, and whether it exists.

    Args:
        overrides: Overrides that can be read, packages that were found given as folders.
        projects: Projects at hand, for suggestions.
    """
    places = Places()
    for text in overrides:
        override = parsed(text)
        if override is None or override.key_or_group != _SEARCH_PATH or override.is_delete():
            places.overrides.append(text)
            continue
        value = override.value()
        if not isinstance(value, list):
            places.mistakes.append(Mistake("MM107", text, "the search path is a list.", f"'{_SEARCH_PATH}=[{value}]'"))
            continue
        for entry in map(str, value):
            mistake = _missing_entry(entry, projects)
            places.mistakes += [mistake] if mistake else []
            places.entries += [] if mistake else [entry]
    return places


def _missing_entry(entry: str, projects: Sequence[Project]) -> Mistake | None:
    key = f"{_SEARCH_PATH}: {entry}"
    packages = {f"pkg://{project.package}": project for project in projects}
    if entry.startswith("pkg://"):  # those that exist have become folders
        meant = closest(entry, packages, cutoff=0.75)
        advice = "" if meant else "The folder above it must be the current one or be installed, and hold __init__.py."
        return Mistake("MM107", key, "there is no such package.", f"'{_SEARCH_PATH}=[{meant}]'" if meant else "", advice)
    scheme, separator, rest = entry.partition("://")
    if separator and scheme != "file":
        return Mistake(
            "MM107",
            key,
            f"there is no scheme {scheme!r}; an entry begins with pkg:// or file://.",
            f"'{_SEARCH_PATH}=[file://{rest}]'",
        )
    folder = Path(rest if separator else entry)
    if folder.is_dir():
        return None
    return Mistake("MM107", key, "there is no such folder.", _beside(folder, f"{_SEARCH_PATH}=[file://", "]"))


def missing_folder(config_dir: str | None) -> Mistake | None:
    """A mistake if the folder of ``--config-dir`` does not exist."""
    if config_dir is None or Path(config_dir).is_dir():
        return None
    return Mistake(
        "MM107", f"--config-dir {config_dir}", "there is no such folder.", _beside(Path(config_dir), "--config-dir ", "")
    )


def _beside(folder: Path, before: str, after: str) -> str:
    """A folder of almost the same name, as it is typed."""
    parent = folder.parent
    names = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    meant = closest(folder.name, names)
    if meant is None:
        return ""
    text = f"{before}{parent / meant}{after}"
    return f"'{text}'" if after else text


def experiments_in(folders: Sequence[str]) -> list[str]:
    """Names of the experiments in folders of configs, given as paths or ``file://`` entries."""
    found = []
    for folder in folders:
        place = Path(folder.removeprefix("file://"), "experiment")
        found += sorted(str(path.relative_to(place).with_suffix("")) for path in place.rglob("*.yaml"))
    return found


def name_experiments(overrides: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[Mistake], bool]:
    """Overrides with experiments that exist, what is wrong with the others, and whether there is enough to go on."""
    good: list[str] = []
    mistakes: list[Mistake] = []
    can_go_on = True
    for text in overrides:
        key, _, value = text.partition("=")
        if key.lstrip("+") != "experiment" or "{" in value:
            good.append(text)
            continue
        names = []
        for name in _named(text, known):
            meant = name if name in known else closest(name, known)
            if name not in known:
                mistakes.append(_unknown_experiment(text, name, meant, known))
                can_go_on = can_go_on and meant is not None
            names += [meant] if meant else []
        listed = ",".join(names)
        good += [f"{key}=[{listed}]" if value.startswith("[") else f"{key}={listed}"] if names else []
    return good, mistakes, can_go_on


def _named(text: str, known: Sequence[str]) -> list[str]:
    """The experiments that an override names: one, several of a sweep, ``choice(…)``, ``glob(…)``, or a list."""
    override = parsed(text)
    value = override.value() if override is not None else None
    if isinstance(value, Glob):
        return value.filter(list(known)) or [text.partition("=")[2]]
    items = (
        value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else text.partition("=")[2].split(",")
    )
    return [str(getattr(item, "text", item)).strip() for item in items]


def _unknown_experiment(text: str, name: str, meant: str | None, known: Sequence[str]) -> Mistake:
    where = "A project elsewhere is added with 'hydra.searchpath=[pkg://my_project.configs]'."
    if name.endswith(".yaml") and name.removesuffix(".yaml") in known:
        meant = name.removesuffix(".yaml")
    what = f"there is no experiment {name!r}." if name else "an experiment is named."
    listed = "" if meant else f"There are: {', '.join(known) or 'none here'}. "
    return Mistake("MM106", text, what, text.replace(name, meant) if meant and name else "", "" if meant else f"{listed}{where}")


def no_experiment(overrides: Sequence[str], known: Sequence[str]) -> Mistake:
    """Nothing says what to run; perhaps a key was meant to."""
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if value and closest(key, ["experiment"], cutoff=0.8, by_part=False):
            return Mistake("MM105", override, "no experiment is named.", f"+experiment={value}")
    suggestion = f"+experiment={known[0] if len(known) == 1 else 'NAME'}"
    return Mistake("MM105", suggestion, "no experiment is named.", suggestion, f"There are: {', '.join(known) or 'none here'}.")
