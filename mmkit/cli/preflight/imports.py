"""A project's module that raises when it is imported."""

import linecache
import traceback

from mmkit.cli.preflight.mistakes import Mistake, place_of
from mmkit.cli.preflight.targets import install
from mmkit.conf.projects import used_projects
from mmkit.extras import MissingExtraError


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
