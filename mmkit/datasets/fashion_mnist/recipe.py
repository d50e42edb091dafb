"""The recipe of the data set ``fashion_mnist``: from a Debian package, installed or unpacked without root, or from a folder."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmkit.conf.store import external_store
from mmkit.datasets.fashion_mnist.idx import read_idx
from mmkit.datasets.recipes import Facts, Preparation, Recipe, SourceUnavailableError
from mmkit.errors import RefusedError


PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")

#: File and shape of each array, by its name in the prepared data set.
FILES = {
    "train_images": ("train-images-idx3-ubyte.gz", (60_000, 28, 28)),
    "train_labels": ("train-labels-idx1-ubyte.gz", (60_000,)),
    "test_images": ("t10k-images-idx3-ubyte.gz", (10_000, 28, 28)),
    "test_labels": ("t10k-labels-idx1-ubyte.gz", (10_000,)),
}
#: SHA-256 of the arrays' values.
DIGESTS = {
    "train_images": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "train_labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "test_images": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "test_labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}


@external_store(group="data", name="fashion_mnist")
class FashionMNISTRecipe(Recipe):
    """70,000 pictures of clothes in ten classes (Xiao et al. 2017, https://arxiv.org/abs/1708.07747).

    The four idx files are looked for in the folder ``fashion-mnist`` of the downloads, where you may put them yourself; then
    where Debian's package ``dataset-fashion-mnist`` installs them; else apt downloads the package, and it is unpacked into that
    folder without being installed, which needs no root. Their values are compared with known digests.

    Files: ``train_images.npy``, uint8 (60000, 28, 28), ``train_labels.npy``, uint8 (60000,), and the same of ``test``, 10,000.
    """

    name: ClassVar[str] = "fashion_mnist"
    summary: ClassVar[str] = "70,000 pictures of clothes, 28 × 28 grey pixels, ten classes; 31 MB through apt."
    version: ClassVar[int] = 1

    def build(self, preparation: Preparation) -> Facts:
        source = find_files(preparation.downloads / "fashion-mnist")
        for name in preparation.track(list(FILES), "Read"):
            np.save(preparation.folder / f"{name}.npy", checked(source, name))
        return {
            "sources": [{"package": PACKAGE, "origin": "https://github.com/zalandoresearch/fashion-mnist"}],
            "licences": {"fashion_mnist": "MIT"},
            "counts": {"train": 60_000, "test": 10_000, "classes": 10},
        }


def checked(folder: Path, name: str) -> np.ndarray:
    """One of the arrays of :data:`FILES`, read from its idx file.

    Raises:
        RefusedError: It is not what it should be.
    """
    (file_name, shape), digest = FILES[name], DIGESTS[name]
    values = read_idx(folder / file_name)
    found = hashlib.sha256(values.tobytes()).hexdigest()
    if values.shape != shape or found != digest:
        raise RefusedError(
            f"{folder / file_name} is not Fashion-MNIST's: {values.shape} values with the digest {found[:16]}…, expected "
            f"{shape} with {digest[:16]}…. MNIST's files have the same names. Remove it, or put the right one in its place."
        )
    return values


def find_files(unpacked: Path) -> Path:
    """The folder that has all four files: ``unpacked``, the installed package's, or ``unpacked`` after a download.

    Raises:
        SourceUnavailableError: They are nowhere, and apt cannot get the package.
    """
    for folder in (unpacked, INSTALLED):
        if all((folder / file_name).is_file() for file_name, _ in FILES.values()):
            return folder
    try:
        _download(unpacked)
    except _FailedError as error:
        names = ", ".join(file_name for file_name, _ in FILES.values())
        raise SourceUnavailableError(
            f"Fashion-MNIST is not in {INSTALLED}, and apt could not get the package {PACKAGE}: {error}. "
            f"Put {names} into {unpacked} and try again."
        ) from error
    return unpacked


class _FailedError(Exception):
    """Why a command did not do what it should."""


def _download(target: Path) -> None:
    """Unpack the package's four files into ``target``."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".apt-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # apt's own user must be able to enter
        _run("apt-get", "-qq", "download", PACKAGE, cwd=folder)
        for package in folder.glob(f"{PACKAGE}_*.deb"):
            _run("dpkg-deb", "-x", package.name, "unpacked", cwd=folder)
        files = folder / "unpacked" / INSTALLED.relative_to("/")
        if not files.is_dir():
            raise _FailedError("the package has other files than expected")
        target.mkdir(exist_ok=True)
        for file in files.iterdir():
            file.replace(target / file.name)


def _run(*command: str, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise _FailedError(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _FailedError(([*_errors(done.stderr)] or [f"exit code {done.returncode}"])[-1])


def _errors(output: str) -> Iterator[str]:
    yield from (
        line.removeprefix("E: ").rstrip(".") for line in output.splitlines() if line.startswith(("E:", "dpkg-deb: error"))
    )
