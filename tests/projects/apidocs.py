"""Documentation texts for tests: the real ones where they are prepared, else a few made-up ones; nothing is downloaded."""

import json
from pathlib import Path

from projects.apidoc_vae.recipe import SPLITS, APIDocsRecipe


SYLLABLES = [f"{consonant}{vowel}" for consonant in "bdfgklmnprstvw" for vowel in "aeiou"]
VERBS = ("Creates", "Deletes", "Describes", "Lists", "Updates", "Returns")
#: Made-up nouns; enough different ones for the vocabulary that an experiment trains.
NOUNS = [f"{first}{second}{last}" for first in SYLLABLES for second in SYLLABLES for last in ("", "n", "s")]
ENDS = ("", " in the specified Region", " that belongs to your account", ". This value is required", " for the given identifier")


def provide_apidocs() -> Path:
    """Its folder in the data folder that ``MMKIT_DATA`` names."""
    recipe = APIDocsRecipe()
    if recipe.problem("") is None:
        return recipe.folder("")
    folder = recipe.folder("")
    folder.mkdir(parents=True, exist_ok=True)
    texts = [f"{VERBS[i % len(VERBS)]} the {noun}{ENDS[i % len(ENDS)]}." for i, noun in enumerate(NOUNS)]
    for split in SPLITS:
        (folder / f"{split}.txt").write_text("\n".join(texts) + "\n")
    files = {path.name: {"bytes": path.stat().st_size} for path in folder.glob("*.txt")}
    (folder / "manifest.json").write_text(json.dumps({"version": recipe.version, "files": files}))
    return folder
