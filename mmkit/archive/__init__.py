"""Archives: a trained task in one file, saved, inspected and restored without running code that the file chooses.

The names load on first use, so that ``mmkit inspect`` needs no torch.
"""

from importlib import import_module
from typing import Any


_HOME = {
    "AvailableModel": "mmkit.archive.models",
    "InitReport": "mmkit.archive.initialization",
    "Limits": "mmkit.archive.format",
    "Restorable": "mmkit.archive.restorable",
    "build": "mmkit.archive.restorable",
    "from_pretrained": "mmkit.archive.models",
    "init_from": "mmkit.archive.initialization",
    "list_available_models": "mmkit.archive.models",
    "open_archive": "mmkit.archive.reader",
    "restore_archive": "mmkit.archive.restore",
    "save_archive": "mmkit.archive.save",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mmkit.archive' has no attribute {name!r}. It offers: {', '.join(_HOME)}.")
    return getattr(import_module(_HOME[name]), name)
