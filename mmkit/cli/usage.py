"""What bare ``mmkit_run`` prints: the experiments at hand, read from their files. Nothing is composed."""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

import mmkit
from mmkit.conf.projects import Project


_NONE = """  none. Write a project that has one:  mmkit new PROJECT
  A project is a folder with configs/__init__.py and configs/experiment/NAME.yaml, here or one level below."""


def print_usage(projects: Sequence[Project], width: int | None = None) -> None:
    """Print what to type, with the experiments at hand.

    Args:
        projects: Where experiments are.
        width: Columns to which a line is cut; default: the terminal's, and no limit where there is none.
    """
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    print("mmkit_run experiment=NAME [key=value ...]\n\nExperiments found")
    print("\n".join(experiment_lines(projects, width)) or _NONE)
    print(f"\n{'mmkit_run experiment=NAME --help':<34}the configuration of one\n{'mmkit --help':<34}what else there is")


def experiment_lines(projects: Sequence[Project], width: int | None = None) -> list[str]:
    """The experiments under the folders of their projects, each with what it says about itself."""
    column = max((len(name) for project in projects for name in project.experiments()), default=0)
    lines = []
    for project in projects:
        names = project.experiments()
        if names:
            lines.append(f"  {place_of(project)}")
        for name in names:
            line = f"    {name:<{column}}  {description(project.configs / 'experiment' / f'{name}.yaml')}".rstrip()
            lines.append(line if width is None or len(line) <= width else _cut(line, width))
    return lines


def place_of(project: Project) -> str:
    """Where a project is: below the current directory, shipped with mmkit, or elsewhere."""
    folder = project.configs.resolve().parent
    for root, prefix in ((Path.cwd(), ""), (Path(mmkit.__file__).resolve().parents[1], "mmkit: ")):
        if folder.is_relative_to(root):
            inside = folder.relative_to(root)
            return f"{prefix}{inside}" if inside.parts else f"{folder.name} (here)"
    return str(folder)


def description(path: Path) -> str:
    r"""The first sentence of the comments at the top of an experiment's file; empty if it has none.

    Example:
        >>> path = getfixture("tmp_path") / "first.yaml"
        >>> _ = path.write_text("# @package _global_\n#\n# Pictures\n# and words. And more.\ndefaults: []")
        >>> description(path)
        'Pictures and words.'
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    words: list[str] = []
    for line in lines:
        text = line.lstrip("#").strip()
        if not line.startswith("#") or (words and not text):
            break
        if not text.startswith("@package"):
            words.append(text)
    return first_sentence(" ".join(words))


def first_sentence(text: str) -> str:
    r"""The text up to its first full stop, on one line.

    Example:
        >>> first_sentence("Version 1.5 of a\n  thing. And more.")
        'Version 1.5 of a thing.'
    """
    return re.split(r"(?<=[.!?])\s(?=[A-Z])", " ".join(text.split()), maxsplit=1)[0]  # not after "e.g."


def _cut(line: str, width: int) -> str:
    indent = len(line) - len(line.lstrip())
    name, _, text = line.strip().partition("  ")
    gap = len(text) - len(text.lstrip()) + 2
    start = " " * indent + name + " " * gap
    return start + shorten(text, max(width - len(start), 20), placeholder=" …")
