"""The import of projects when a run starts, and what is told if one of their modules raises."""

import linecache
import os
import traceback

from mmkit.cli.preflight.mistakes import Mistake, place_of, refuse
from mmkit.cli.preflight.targets import install
from mmkit.conf.projects import import_packages, used_projects
from mmkit.extras import MissingExtraError


def import_projects() -> None:
    """Import the projects that take part, for what they do besides registering; exit with their own error if they raise."""
    try:
        import_packages()
    except Exception as error:  # whatever a user's module raises
        if os.environ.get("MMKIT_TRACE"):
            raise
        refuse([failed_import(error)])


def failed_import(error: Exception) -> Mistake:
    """The last line of the user's own code that led to an error, and what it says."""
    path, line = _where(error)
    source = linecache.getline(path, line).strip() if line else ""
    message = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    missing = error.name if isinstance(error, ModuleNotFoundError) and not isinstance(error, MissingExtraError) else None
    advice = (
        f"{install(missing.partition('.')[0])}, if {missing!r} is a package." if missing else "MMKIT_TRACE=1 shows the trace."
    )
    return Mistake("MM601", source, message, advice=advice, place=place_of(path, line or None) if path else "")


def _where(error: Exception) -> tuple[str, int]:
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    frames = traceback.extract_tb(error.__traceback__)
    roots = tuple(str(project.configs.parent) for project in used_projects())
    own = [frame for frame in frames if frame.filename.startswith(roots)] if roots else []
    last = (own or [frame for frame in frames if "importlib" not in frame.filename] or list(frames))[-1:]
    return (last[0].filename, last[0].lineno or 0) if last else ("", 0)
