"""Where a prepared data set lies, and whether it can be used; told from its manifest, without its recipe."""

import json
from pathlib import Path

from mmkit.datasets.cache import cache_root


MANIFEST = "manifest.json"


def folder_of(name: str, sets: str = "") -> Path:
    """Where a selection of a data set lies once it is prepared."""
    return cache_root() / (f"{name}-{sets}" if sets else name)


def problem_of(folder: Path, version: int) -> str | None:
    """Why a prepared data set cannot be used as it lies there; None if it can.

    Args:
        folder: Where it lies.
        version: Of the recipe that is there now.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        made_by = manifest["version"]
        sizes = {name: facts["bytes"] for name, facts in manifest["files"].items()}
    except FileNotFoundError:
        return "is not prepared"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"has an unreadable manifest ({folder / MANIFEST})"
    if made_by != version:
        return f"was made by version {made_by} of its recipe; this is version {version}"
    for name, size in sizes.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != size:
            return f"is damaged ({folder / name} is missing or has another size)"
    return None
