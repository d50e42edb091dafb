"""The data set ``Emoji``: pictures of emoji, what they are called, and which group they belong to."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mmkit.conf import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.errors import RefusedError, UsageError
from projects.emoji_clip.recipe import EmojiRecipe


FOLDS = ("train", "val", "test")
LONG_CAPTION = "family: man, woman, girl, boy"
#: A modality for captions in French beside those in English.
FRENCH = "text_fr"
if not Modalities.has_modality(FRENCH):
    Modalities.register_modality(FRENCH)


@external_store(group="datasets")
class Emoji(Dataset[Example]):
    """Pictures of emoji with captions; made by ``mmkit data prepare emoji``.

    An example has a picture (``rgb``, uint8 (3, 96, 96)), its group (``rgb_target``, 0 to 8), and captions. Its
    ``example_index`` is the number of the concept: all pictures and captions of one concept match each other.

    Args:
        split: Concepts of which fold: ``"train"``, ``"val"``, ``"test"``, or ``"all"``. No concept, and none of its variants, is
            in two folds.
        vendors: Whose drawings: a list of names, or ``"seen"`` (all that are trained on: all but OpenMoji, or OpenMoji where
            there is no other), ``"unseen"`` (OpenMoji, where there are others), ``"gallery"`` (Noto, or OpenMoji where
            there is no other).
        sets: Which selection of the data is read: ``"pypi"``, ``"small"`` or ``"all"``; default: the largest prepared.
        captions: Language by modality; default: ``{"text": "en"}``.
        views: Examples made of each picture. The captions of the 1st, 3rd, … are the concept's name; those of the 2nd, 4th, …
            another word for it, chosen by a hash of seed, picture and view.
        seed: Changes these choices.
        name: Names what is evaluated on it; data sets that are evaluated together need different ones.

    Raises:
        UsageError: An unknown split, vendor, selection or language; lists the known ones.
        RefusedError: The data is not prepared, or damaged; says what to type.
    """

    zero_shot_prompt_templates = (
        "{}",
        "{} emoji",
        "a picture of {}",
        "something to do with {}",
        "one of the {}",
        "related to {}",
    )

    def __init__(
        self,
        split: str = "train",
        vendors: str | list[str] = "seen",
        sets: str | None = None,
        captions: dict[str, str] | None = None,
        views: int = 1,
        seed: int = 0,
        name: str = "emoji",
    ) -> None:
        if split not in (*FOLDS, "all"):
            raise UsageError(f"Emoji: unknown split {split!r}. Allowed: {', '.join(FOLDS)}, all.")
        if views < 1:
            raise UsageError(f"Emoji: views={views}. Use 1 or more.")
        self.folder = EmojiRecipe().locate(sets)
        self.views, self.seed, self.name = views, seed, name
        self.concepts: list[dict[str, str]] = _read(self.folder / "concepts.json")
        self.id2label = dict(enumerate(dict.fromkeys(concept["group"] for concept in self.concepts)))
        self._group_ids = {group: index for index, group in self.id2label.items()}
        renderings: list[tuple[int, str]] = _read(self.folder / "renderings.json")
        self.vendors = _chosen(vendors, list(dict.fromkeys(vendor for _, vendor in renderings)))
        #: Row of the images, number of the concept and vendor of each picture.
        self.pictures = [
            (row, concept, vendor)
            for row, (concept, vendor) in enumerate(renderings)
            if vendor in self.vendors and split in ("all", self.concepts[concept]["fold"])
        ]
        self._captions = {
            Modalities.get_modality(modality).name: _captions(self.folder, language)
            for modality, language in (captions or {Modalities.TEXT.name: "en"}).items()
        }
        self._images = np.load(self.folder / "images.npy", mmap_mode="r")

    @staticmethod
    def example_spec(captions: dict[str, str] | None = None, **arguments: Any) -> Example:
        """An example without data, for ``mmkit plan``; its text is as long as the longest of a batch are.

        Args:
            captions: As for the constructor.
            **arguments: The constructor's others, which change no shape.
        """
        texts = {Modalities.get_modality(name).name: LONG_CAPTION for name in captions or [Modalities.TEXT.name]}
        picture_CHW = torch.empty(3, 96, 96, dtype=torch.uint8, device="meta")
        return Example({EXAMPLE_INDEX_KEY: 0, Modalities.RGB.name: picture_CHW, Modalities.RGB.target: 0, **texts})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}  # a pickled memory map would be a copy for every worker

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._images = np.load(self.folder / "images.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.pictures) * self.views

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} is out of range for {len(self)} examples.")
        position, view = divmod(index, self.views)
        row, concept, _ = self.pictures[position]
        example = Example(
            {
                EXAMPLE_INDEX_KEY: concept,
                Modalities.RGB.name: torch.from_numpy(self._images[row].copy()),
                Modalities.RGB.target: self._group_ids[self.concepts[concept]["group"]],
            }
        )
        for modality, words in self._captions.items():
            if words[concept]:
                example[modality] = self._caption(words[concept], row, view)
        return example

    def _caption(self, words: list[str], row: int, view: int) -> str:
        others = words[1:]
        if view % 2 == 0 or not others:
            return words[0]
        digest = hashlib.blake2b(f"{self.seed} {row} {view}".encode(), digest_size=8).digest()
        return others[int.from_bytes(digest) % len(others)]


def _chosen(vendors: str | list[str], known: list[str]) -> list[str]:
    """The vendors that are meant, of those in the data."""
    others = [vendor for vendor in known if vendor != "openmoji"]
    if vendors == "unseen" and not others:
        raise RefusedError(
            "Emoji: with vendors=unseen OpenMoji is held out, but the data has no other vendor to train on. "
            f"Type: {EmojiRecipe().command('small')}"
        )
    roles = {"seen": others or known, "unseen": ["openmoji"], "gallery": ["noto"] if others else known}
    chosen = roles.get(vendors, [vendors]) if isinstance(vendors, str) else vendors
    for vendor in chosen:
        if vendor not in known:
            raise UsageError(f"Emoji: unknown vendor {vendor!r}. In the data: {', '.join(known)}; or {', '.join(roles)}.")
    return chosen


def _captions(folder: Path, language: str) -> list[list[str]]:
    path = folder / "captions" / f"{language}.json"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in path.parent.glob("*.json")))
        raise UsageError(f"Emoji: there are no captions in the language {language!r}. In the data: {known}.")
    return _read(path)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
