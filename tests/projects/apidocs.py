"""Documentation texts for tests: the real ones where they are prepared, else a few made-up ones; nothing is downloaded."""

import json
from pathlib import Path

from projects.apidoc_vae.recipe import SPLITS, APIDocsRecipe


VERBS = ("Creates", "Deletes", "Describes", "Lists", "Updates", "Returns")
THINGS = ("bucket", "queue", "role", "policy", "snapshot", "volume", "job", "domain")
ENDS = ("", " in the specified Region", " that belongs to your account", ". This value is required", " for the given identifier")


def provide_apidocs() -> Path:
    """Its folder in the data folder that ``MMKIT_DATA`` names."""
    recipe = APIDocsRecipe()
    if recipe.problem("") is None:
        return recipe.folder("")
    folder = recipe.folder("")
    folder.mkdir(parents=True, exist_ok=True)
    texts = [f"{verb} the {thing}{end}." for verb in VERBS for thing in THINGS for end in ENDS]
    for split in SPLITS:
        (folder / f"{split}.txt").write_text("\n".join(texts) + "\n")
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.glob("*.txt")}
    (folder / "manifest.json").write_text(json.dumps({"version": recipe.version, "files": files}))
    return folder
