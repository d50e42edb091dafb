"""mmkit: structured-config experiments for multimodal representation learning.

The names below load on first use (PEP 562), so that ``import mmkit`` needs neither torch nor hydra.
"""

from importlib import import_module
from typing import Any

from mmkit.extras import repair_torchvision_on_import


__version__ = "0.1.0"

_HOME = {
    "CombinedDataset": "mmkit.datasets.core",
    "ContrastivePretraining": "mmkit.tasks.contrastive_pretraining",
    "DefaultDataCollator": "mmkit.datasets.core",
    "EXAMPLE_INDEX_KEY": "mmkit.constants",
    "EvaluationHooks": "mmkit.tasks.hooks",
    "Example": "mmkit.datasets.core",
    "MMKitConf": "mmkit.conf",
    "Modalities": "mmkit.datasets.core",
    "TrainingTask": "mmkit.tasks.base",
    "external_store": "mmkit.conf",
    "find_matching_indices": "mmkit.datasets.core",
    "from_pretrained": "mmkit.archive",
    "list_available_models": "mmkit.archive",
    "register_external_modules": "mmkit.conf",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mmkit' has no attribute {name!r}. It offers: {', '.join(_HOME)}.")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


repair_torchvision_on_import()
