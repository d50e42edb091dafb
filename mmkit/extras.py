"""Optional packages: imported when a component needs them, reported in one line when they are absent."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any


class MissingExtraError(ImportError):
    """An optional package is needed and not installed."""


def require(module: str, extra: str, needed_by: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: Dotted name of the module, e.g. ``"timm"``.
        extra: The extra of mmkit that brings it, e.g. ``"vision"``.
        needed_by: The component that asks, named in the error.

    Raises:
        MissingExtraError: If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(f"{needed_by} needs `pip install mmkit[{extra}]` (package {package!r} is missing).") from error


def resolve_location(name: str) -> str:
    """The directory that ``pkg://package/folder`` names, any other name as it is.

    Raises:
        ValueError: The package is not installed or has no such folder.
    """
    if not name.startswith("pkg://"):
        return name
    package, _, folder = name.removeprefix("pkg://").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"{name!r} lies in the package {package!r}, which is not installed.")
    directory = Path(spec.origin).parent / folder
    if not directory.is_dir():
        raise ValueError(f"The package {package!r} has no folder {folder!r} ({name!r} was given).")
    return str(directory)


class _TorchvisionRepair:
    """Import hook that lets a CUDA build of torchvision load beside a CPU-only torch.

    torchvision registers shape functions for its C++ operators ``nms`` and ``qnms`` on import. When the C++ library cannot be
    loaded these operators do not exist and the import fails, although all pure-Python parts (transforms, models) work without
    them. timm and torchmetrics import torchvision. Declaring the two schemas beforehand is enough.
    """

    library: Any = None  # torch forgets the schemas when the Library object dies

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            self._declare_missing_operators()
        return None

    def _declare_missing_operators(self) -> None:
        spec = PathFinder.find_spec("torchvision")
        if spec is None or spec.origin is None:
            return
        import torch

        try:
            for library in Path(spec.origin).parent.glob("_C*.so"):
                torch.ops.load_library(str(library))
        except OSError:
            _TorchvisionRepair.library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                _TorchvisionRepair.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def repair_torchvision_on_import() -> None:
    """Install the import hook once; it does nothing until torchvision is imported."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _TorchvisionRepair) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TorchvisionRepair())
