"""Molecules for tests: those of MOSES where they are prepared, else a few made-up ones; nothing is downloaded."""

import json
from pathlib import Path

from projects.molmim.recipe import FILES, MosesRecipe


RINGS = ("c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1cc[nH]c1", "c1ccsc1")
GROUPS = ("Br", "Cl", "C#N", "C(=O)O", "CCN", "S(C)(=O)=O")


def provide_moses() -> Path:
    """Its folder in the data folder that ``MMKIT_DATA`` names."""
    recipe = MosesRecipe()
    if recipe.problem("") is None:
        return recipe.folder("")
    folder = recipe.folder("")
    folder.mkdir(parents=True, exist_ok=True)
    molecules = [f"{'C' * length}{ring}{group}"[:50] for length in range(1, 12) for ring in RINGS for group in GROUPS]
    for name in FILES:
        (folder / f"{name}.txt").write_text("\n".join(molecules) + "\n")
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.glob("*.txt")}
    (folder / "manifest.json").write_text(json.dumps({"version": recipe.version, "files": files}))
    return folder
