"""The recipe of the data set ``emoji``: drawings of up to eleven vendors, rasterised, with what they are called."""

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mmkit.conf.store import external_store
from mmkit.datasets.npm import NpmPackage
from mmkit.datasets.recipes import Facts, Preparation, Recipe, installed_digest, require_version
from projects.emoji_clip.sources import EMOJIBASE, ICONIFY, NAMES, OPENMOJI, RASTERIZER, VENDOR_LICENCES, VENDORS, PyPIPackage


if TYPE_CHECKING:
    from projects.emoji_clip.concepts import Concept

Rendering = tuple[int, str]  # index of the concept, vendor
IMAGE_SIZE = 96  # pixels; what the image encoder of the demonstration runs at


@external_store(group="data", name="emoji")
class EmojiRecipe(Recipe):
    """1,914 emoji drawn by one to eleven vendors, with names and other words for them in up to 32 languages.

    Files: ``images.npy``, uint8 (N, 3, 96, 96) over white; ``renderings.json``, the concept and vendor of each image;
    ``concepts.json``; and ``captions/<language>.json``, for each concept its name followed by other words for it.
    """

    name: ClassVar[str] = "emoji"
    summary: ClassVar[str] = "1,914 emoji at 96 pixels with names, tags and groups."
    version: ClassVar[int] = 1
    choices: ClassVar[dict[str, str]] = {
        "all": "eleven vendors, words in 32 languages; 35 MB through npm",
        "small": "OpenMoji, Noto and Twemoji, words in 32 languages; 11 MB through npm",
        "pypi": "OpenMoji, names in 14 languages; from installed packages alone",
    }

    def attempts(self, say: Callable[[str], None]) -> list[str]:
        """The small selection where npm is installed, otherwise what PyPI has."""
        if shutil.which("npm"):
            return ["small", "pypi"]
        say("npm is not installed: OpenMoji alone is prepared, from PyPI. With npm, Noto and Twemoji are added.")
        return ["pypi"]

    def build(self, preparation: Preparation) -> Facts:
        for package in (OPENMOJI, NAMES, RASTERIZER):
            require_version(package.name, package.version, "pip install 'mmkit[demo]'")
        from projects.emoji_clip.concepts import SPLIT_RULE, concepts  # needs the packages just asked for
        from projects.emoji_clip.words import add_words

        vendors = VENDORS[preparation.sets]
        packages = [*(ICONIFY[vendor] for vendor in vendors), EMOJIBASE] if vendors else []
        archives = {p.name: p.fetch(preparation.downloads) for p in preparation.track(packages, "Download")}
        table = concepts()
        if packages:
            add_words(table, archives[EMOJIBASE.name])
        renderings = _draw(preparation, table, {vendor: archives[ICONIFY[vendor].name] for vendor in vendors})
        _write_tables(preparation.folder, table, renderings)
        return {
            "sources": [_described(package) for package in (OPENMOJI, NAMES, RASTERIZER, *packages)],
            "licences": {vendor: VENDOR_LICENCES[vendor] for vendor in ("openmoji", *vendors)},
            "split_rule": SPLIT_RULE,
            "counts": _counts(preparation.folder, table, renderings),
        }


def pictures_in_several_folds(images: NDArray[np.uint8], folds: Sequence[str]) -> int:
    """How many pictures occur, pixel for pixel, in more than one fold.

    Args:
        images: (N, ...) pictures.
        folds: The fold of each.

    Example:
        >>> pictures_in_several_folds(np.array([[1], [2], [1], [2]], dtype=np.uint8), ["train", "val", "test", "val"])
        1
    """
    found: dict[bytes, set[str]] = defaultdict(set)
    for image, fold in zip(images, folds, strict=True):
        found[hashlib.sha256(image.tobytes()).digest()].add(fold)
    return sum(len(folds) > 1 for folds in found.values())


def _draw(preparation: Preparation, table: Sequence["Concept"], archives: Mapping[str, Path]) -> list[Rendering]:
    """Write ``images.npy`` and say which concept and vendor each image is of."""
    from projects.emoji_clip.drawings import emoji_names, iconify_drawings, openmoji_drawings, rasterize

    names = emoji_names(table, list(archives.values()))
    drawings = {"openmoji": openmoji_drawings(table)}
    drawings |= {vendor: iconify_drawings(archive, names) for vendor, archive in archives.items()}
    renderings = [
        (index, vendor) for vendor, svg in drawings.items() for index, concept in enumerate(table) if concept.emoji in svg
    ]
    shape = (len(renderings), 3, IMAGE_SIZE, IMAGE_SIZE)
    images = np.lib.format.open_memmap(preparation.folder / "images.npy", "w+", np.uint8, shape)
    for row, (index, vendor) in enumerate(preparation.track(renderings, "Draw")):
        images[row] = rasterize(drawings[vendor][table[index].emoji], IMAGE_SIZE)
    images.flush()
    return renderings


def _write_tables(folder: Path, table: Sequence["Concept"], renderings: Sequence[Rendering]) -> None:
    (folder / "captions").mkdir()
    for language in sorted({language for concept in table for language in concept.captions}):
        _write(folder / "captions" / f"{language}.json", [concept.captions.get(language, []) for concept in table])
    _write(folder / "concepts.json", [concept.row() for concept in table])
    _write(folder / "renderings.json", renderings)


def _counts(folder: Path, table: Sequence["Concept"], renderings: Sequence[Rendering]) -> dict[str, Any]:
    folds = [table[index].fold for index, _ in renderings]
    return {
        "renderings": len(renderings),
        "concepts": len(table),
        "renderings_by_vendor": dict(Counter(vendor for _, vendor in renderings)),
        "renderings_by_fold": dict(Counter(folds)),
        "concepts_by_fold": dict(Counter(concept.fold for concept in table)),
        "concepts_by_group": dict(Counter(concept.group for concept in table)),
        "pictures_in_several_folds": pictures_in_several_folds(np.load(folder / "images.npy", mmap_mode="r"), folds),
    }


def _described(package: PyPIPackage | NpmPackage) -> dict[str, str]:
    if isinstance(package, NpmPackage):
        return {"registry": "npm", **asdict(package)}
    return {"registry": "pypi", **asdict(package), "sha256_of_files": installed_digest(package.name)}


def _write(path: Path, rows: Sequence[Any]) -> None:
    """Write a list with one row a line, which a person can read and ``diff`` compare."""
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
