import io
import tarfile

import pytest

from mmkit.datasets.npm import NpmPackage, integrity_of, read_members
from mmkit.datasets.recipes import SourceUnavailableError
from mmkit.errors import RefusedError


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "scope-letters-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as members:
        for name, content in {"icons.json": b"{}", "en/data.json": b"[1]", "fr/data.json": b"[2]"}.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            members.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def registry(monkeypatch, tmp_path, archive):
    """A program ``npm`` that answers with ``archive`` and notes how it was called."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncp {archive} .\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


@pytest.fixture
def downloads(tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


def _package(integrity):
    return NpmPackage("@scope/letters", "1.0.0", integrity, "MIT")


def test_files_are_read_without_unpacking(archive):
    assert read_members(archive, "icons.json") == {"icons.json": b"{}"}
    assert read_members(archive, "*/data.json") == {"en/data.json": b"[1]", "fr/data.json": b"[2]"}


def test_a_missing_file_is_refused(archive):
    with pytest.raises(RefusedError, match=r"scope-letters-1.0.0.tgz has no file 'chars.json'"):
        read_members(archive, "chars.json")


def test_the_integrity_is_written_as_npm_does(tmp_path):
    (tmp_path / "empty").touch()
    expected = "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
    assert integrity_of(tmp_path / "empty") == expected


def test_a_package_is_downloaded_once_and_no_script_runs(registry, archive, downloads, tmp_path):
    package = _package(integrity_of(archive))
    for _ in range(2):
        assert package.fetch(downloads) == downloads / "scope-letters-1.0.0.tgz"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert calls[0].startswith("pack @scope/letters@1.0.0 --ignore-scripts")
    assert [path.name for path in downloads.iterdir()] == ["scope-letters-1.0.0.tgz"]


def test_a_cut_download_is_fetched_again(registry, archive, downloads):
    package = _package(integrity_of(archive))
    (downloads / package.file_name).write_bytes(archive.read_bytes()[:10])
    assert integrity_of(package.fetch(downloads)) == package.integrity


def test_another_content_than_the_pinned_one_is_refused(registry, downloads):
    with pytest.raises(RefusedError, match=r"@scope/letters@1.0.0 .* has the digest sha512-.*, expected sha512-other. It is not"):
        _package("sha512-other").fetch(downloads)
    assert list(downloads.iterdir()) == []


def test_a_registry_that_does_not_answer_is_unavailable(registry, downloads):
    registry.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    with pytest.raises(SourceUnavailableError, match=r"npm could not get @scope/letters@1.0.0: npm error code ENOTFOUND"):
        _package("sha512-x").fetch(downloads)


def test_without_npm_the_package_is_unavailable(monkeypatch, downloads):
    monkeypatch.setenv("PATH", str(downloads))
    with pytest.raises(SourceUnavailableError, match=r"@scope/letters comes from the npm registry, and npm is not installed"):
        _package("sha512-x").fetch(downloads)
