"""``mmkit new``: a project that runs at once, to be changed into one's own."""

import argparse
import keyword
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from mmkit.cli.output import console
from mmkit.errors import UsageError


TEMPLATE = Path(__file__).with_name("new_project")
PLACEHOLDER = "my_project"  # stands in the template for the project's name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the project's folder."""
    parser.add_argument("project", metavar="PROJECT", type=Path, help="the folder to make; its name is that of the package")
    parser.set_defaults(run=new)


def new(arguments: argparse.Namespace) -> None:
    """Write a project and say what to type next."""
    folder = arguments.project
    written = write_project(folder)
    out = console()
    for path, about in written.items():
        out.print(f"{os.path.relpath(folder / path):<40} {about}".rstrip())
    out.print("\nNext", style="bold")
    out.print(f"  cd {folder}")
    out.print(f"  {'mmkit_run experiment=first':<36} train it: less than a minute, no download")
    out.print(f"  {'mmkit_run experiment=first --help':<36} see its whole configuration")


def write_project(folder: Path) -> dict[Path, str]:
    """Write the files of a project into a new folder.

    Args:
        folder: The folder, whose name is the project's.

    Returns:
        What was written, relative to the folder, and the first line that each file says about itself.

    Raises:
        UsageError: The folder exists, cannot be made, or its name cannot be a package's.
    """
    name = folder.name
    if reason := problem_of_name(name):
        raise UsageError(f"{name!r} cannot name a project: {reason}. Try: mmkit new {folder.parent / suggested_name(name)}")
    try:
        folder.mkdir(parents=True)
        return {path: _write(folder / path, text) for path, text in _files(name)}
    except FileExistsError:
        raise UsageError(f"{folder} is there already, and is left as it is. Choose another name, or remove it first.") from None
    except OSError as error:
        raise UsageError(f"{error.filename or folder} cannot be written: {error.strerror}.") from None


def problem_of_name(name: str) -> str | None:
    """Why a package cannot be called so; None if it can."""
    if not name.isidentifier():
        return "it has to be imported, so it may hold letters, digits and underscores, and begins with no digit"
    if keyword.iskeyword(name):
        return "it is a word of Python's grammar"
    if name in sys.stdlib_module_names:
        return "a module of Python's standard library is called so"
    if name in ("configs", "projects"):
        return "mmkit looks for projects in folders that are called so"
    if find_spec(name) is not None:
        return "a module that is installed here is called so, and one would hide the other"
    return None


def suggested_name(name: str) -> str:
    """A name that is close and allowed."""
    words = re.sub(r"\W+", "_", name).strip("_").lower()
    if words and problem_of_name(words) is None:
        return words
    return f"{words}_project" if words.isidentifier() else f"project_{words}".rstrip("_")


def _files(name: str) -> list[tuple[Path, str]]:
    """Relative paths and contents, the upper folder first."""
    templates = sorted(TEMPLATE.rglob("*.txt"), key=lambda path: (len(path.parts), path))
    relative = [str(path.relative_to(TEMPLATE).with_suffix("")).replace(PLACEHOLDER, name) for path in templates]
    texts = [path.read_text(encoding="utf-8").replace(PLACEHOLDER, name) for path in templates]
    return [(Path(path), text) for path, text in zip(relative, texts, strict=True)]


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return _ABOUT.get(path.name, "")


_ABOUT = {
    "README.md": "what it is, and what to type",
    "dataset.py": "a data set: coloured shapes and their descriptions",
    "encoder.py": "an encoder, with a preset",
    "first.yaml": "the experiment",
}
