"""Fashion-MNIST for tests: the real one where its package is installed, else noise of the same shape; nothing is downloaded."""

import json
from pathlib import Path

import numpy as np
from rich.console import Console

from mmkit.datasets.fashion_mnist.recipe import FILES, INSTALLED, FashionMNISTRecipe
from mmkit.datasets.preparation import prepare


def provide_fashion_mnist() -> Path:
    """Its folder in the data folder that ``MMKIT_DATA`` names."""
    recipe = FashionMNISTRecipe()
    if recipe.problem("") is None:
        return recipe.folder("")
    if INSTALLED.is_dir():
        return prepare(recipe, console=Console(quiet=True))
    folder = recipe.folder("")
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name, (_, shape) in FILES.items():
        values = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)  # zeros beyond the first rows
        values[:200] = random.integers(0, 10 if len(shape) == 1 else 256, values[:200].shape)
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.glob("*.npy")}
    (folder / "manifest.json").write_text(json.dumps({"version": recipe.version, "files": files}))
    return folder
