import gzip
import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from rich.console import Console

from mmkit.datasets.fashion_mnist import recipe as recipe_module
from mmkit.datasets.fashion_mnist.recipe import FILES, FashionMNISTRecipe
from mmkit.datasets.preparation import prepare
from mmkit.datasets.recipes import SourceUnavailableError
from mmkit.errors import RefusedError


QUIET = Console(quiet=True)


@pytest.fixture
def small(monkeypatch):
    """Arrays of a smaller Fashion-MNIST, which the recipe expects."""
    shapes = {"train_images": (6, 28, 28), "train_labels": (6,), "test_images": (2, 28, 28), "test_labels": (2,)}
    arrays = {name: np.arange(np.prod(shape)).astype(np.uint8).reshape(shape) for name, shape in shapes.items()}
    monkeypatch.setattr(recipe_module, "FILES", {name: (FILES[name][0], shape) for name, shape in shapes.items()})
    digests = {name: hashlib.sha256(values.tobytes()).hexdigest() for name, values in arrays.items()}
    monkeypatch.setattr(recipe_module, "DIGESTS", digests)
    return arrays


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """Where the files are looked for first; nothing is installed."""
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    monkeypatch.setattr(recipe_module, "INSTALLED", tmp_path / "usr/share/datasets/fashion-mnist")
    return tmp_path / "downloads" / "fashion-mnist"


def write_idx(folder, arrays):
    folder.mkdir(parents=True)
    for name, values in arrays.items():
        header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4) for size in values.shape)
        (folder / FILES[name][0]).write_bytes(gzip.compress(header + values.tobytes()))


@pytest.mark.parametrize("where", ["downloads", "installed"])
def test_files_are_read_where_they_lie(small, downloads, where):
    write_idx(downloads if where == "downloads" else recipe_module.INSTALLED, small)
    folder = prepare(FashionMNISTRecipe(), console=QUIET)
    for name, values in small.items():
        assert np.array_equal(np.load(folder / f"{name}.npy"), values)
    assert json.loads((folder / "manifest.json").read_text())["licences"] == {"fashion_mnist": "MIT"}


def test_other_data_with_the_same_names_is_refused(small, downloads):
    write_idx(downloads, small | {"test_images": small["test_images"] + 1})
    with pytest.raises(
        RefusedError, match=r"t10k-images-idx3-ubyte.gz is not Fashion-MNIST's: \(2, 28, 28\) values with the digest"
    ):
        prepare(FashionMNISTRecipe(), console=QUIET)
    assert not FashionMNISTRecipe().folder("").exists()


def test_apt_downloads_and_the_package_is_unpacked(small, downloads, monkeypatch, tmp_path):
    """With stand-ins for ``apt-get`` and ``dpkg-deb`` that do as these do."""
    write_idx(tmp_path / "mirror", small)
    files = recipe_module.INSTALLED.relative_to("/")
    _command(tmp_path, "apt-get", 'test "$*" = "-qq download dataset-fashion-mnist" && touch dataset-fashion-mnist_1_all.deb')
    copied = f'mkdir -p "$3/{files}" && cp "{tmp_path}"/mirror/* "$3/{files}"'
    _command(tmp_path, "dpkg-deb", f'test "$1 $2" = "-x dataset-fashion-mnist_1_all.deb" && {copied}')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    folder = prepare(FashionMNISTRecipe(), console=QUIET)
    assert np.array_equal(np.load(folder / "train_labels.npy"), small["train_labels"])
    assert [path.name for path in downloads.parent.iterdir()] == ["fashion-mnist"]


def test_without_apt_it_is_said_what_to_do(downloads, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailableError) as caught:
        prepare(FashionMNISTRecipe(), console=QUIET)
    assert "apt could not get the package dataset-fashion-mnist: apt-get is not installed. Put train-images-" in str(caught.value)
    assert str(caught.value).endswith(f"into {downloads} and try again.")


def test_what_apt_says_is_told(downloads, monkeypatch, tmp_path):
    _command(tmp_path, "apt-get", "echo 'W: something' >&2; echo 'E: Unable to locate package.' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(SourceUnavailableError, match=r"apt could not get the package .*: Unable to locate package. Put"):
        prepare(FashionMNISTRecipe(), console=QUIET)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_the_real_package_is_what_the_recipe_expects(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    try:
        folder = prepare(FashionMNISTRecipe(), console=QUIET)
    except SourceUnavailableError as error:
        pytest.skip(str(error))
    assert np.bincount(np.load(folder / "train_labels.npy")).tolist() == [6000] * 10


def _command(tmp_path, name, script):
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
