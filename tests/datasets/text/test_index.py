import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mmkit.datasets.text.index import index_places, line_at, open_or_build
from mmkit.datasets.text.records import Rules
from mmkit.errors import RefusedError


LINES = Rules()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MMKIT_DATA", str(folder))
    return folder


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "data" / "text.txt"
    path.parent.mkdir()
    path.write_text("one\ntwo\n\nthree")
    return path


def built_at(index):
    return index.container.path.stat().st_ino


def test_starts_end_with_the_size(source):
    assert open_or_build(source, LINES).starts.tolist() == [0, 4, 9, 14]


def test_an_index_is_built_once(source):
    assert built_at(open_or_build(source, LINES)) == built_at(open_or_build(source, LINES))


def test_an_index_beside_its_file_moves_with_it(source, tmp_path):
    before = built_at(open_or_build(source, LINES))
    moved = source.parent.rename(tmp_path / "moved")
    assert built_at(open_or_build(moved / "text.txt", LINES)) == before


@pytest.mark.parametrize("kept", ["nothing", "time", "size", "time and size"])
def test_a_changed_file_is_indexed_anew(source, kept):
    stat = source.stat()
    open_or_build(source, LINES)
    source.write_text("one\ntwo\n\nthr\ne" if "size" in kept else "another\n")
    if "time" in kept:
        os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    expected = [0, 4, 9, 13, 14] if "size" in kept else [0, 8]
    assert open_or_build(source, LINES).starts.tolist() == expected


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-4], lambda data: data[:-1] + b"\xff", lambda data: b""], ids=["cut", "bits", "empty"]
)
def test_a_damaged_index_is_built_anew(source, damage, caplog):
    path = open_or_build(source, LINES).container.path
    path.write_bytes(damage(path.read_bytes()))
    assert open_or_build(source, LINES).starts.tolist() == [0, 4, 9, 14]
    assert "It is built anew." in caplog.text


def test_an_index_of_other_rules_is_another(source):
    places = {open_or_build(source, rules).container.path for rules in (LINES, Rules('"', ","), Rules('"', ";"))}
    assert len(places) == 3


def test_index_mapping_dir_tells_files_of_one_name_apart(source, tmp_path):
    other = tmp_path / "text.txt"
    other.write_text("something else\n")
    folder = tmp_path / "indexes" / "here"
    assert open_or_build(source, LINES, folder).starts.tolist() == [0, 4, 9, 14]
    assert open_or_build(other, LINES, folder).starts.tolist() == [0, 15]
    assert open_or_build(source, LINES, folder).container.path.parent == folder
    assert [path.name for path in source.parent.iterdir()] == ["text.txt"]


def refuse_writing_in(folder, monkeypatch):
    """As on a read-only file system: permissions do not stop the superuser, who may run the tests."""
    really = tempfile.TemporaryFile

    def refuse(*args, **arguments):
        if Path(arguments["dir"]) == folder:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return really(*args, **arguments)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)


def test_the_index_of_a_file_in_a_read_only_folder_goes_to_the_cache(source, cache, monkeypatch, caplog):
    refuse_writing_in(source.parent, monkeypatch)
    index = open_or_build(source, LINES)
    assert index.container.path.parent == cache / "text_index"
    assert f"{source.parent} cannot be written (Read-only file system)" in caplog.text
    assert "index_mapping_dir" in caplog.text
    assert [path.name for path in source.parent.iterdir()] == ["text.txt"]
    assert built_at(open_or_build(source, LINES)) == built_at(index)


def test_an_index_in_a_read_only_folder_is_used(source, monkeypatch):
    before = built_at(open_or_build(source, LINES))
    refuse_writing_in(source.parent, monkeypatch)
    assert built_at(open_or_build(source, LINES)) == before


def test_an_index_mapping_dir_that_cannot_be_written_is_refused(source, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RefusedError, match=r"file cannot be written \(.*; there is no place for the index of .*text.txt"):
        open_or_build(source, LINES, tmp_path / "file")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RefusedError, match=r"There is no file .*missing.txt. Check `data_prefix`."):
        open_or_build(tmp_path / "missing.txt", LINES)
    with pytest.raises(RefusedError, match="it is a folder"):
        open_or_build(tmp_path, LINES)


def test_an_empty_file_has_no_records(source):
    source.write_bytes(b"")
    index = open_or_build(source, LINES)
    assert (len(index), index.starts.tolist()) == (0, [0])


def test_a_bad_quote_is_refused_with_its_line(source):
    source.write_text('a,b\n5" disk,c\n')
    with pytest.raises(RefusedError, match=r"text.txt, line 2: a \" that neither begins nor ends a field"):
        open_or_build(source, Rules('"', ","))
    assert [path.name for path in source.parent.iterdir() if not path.name.startswith(".")] == ["text.txt"]


def test_several_processes_may_start_at_once(source):
    source.write_bytes(b"".join(b"line %d\n" % i for i in range(200_000)))
    script = (
        "import sys; from pathlib import Path; from mmkit.datasets.text.index import open_or_build; "
        "from mmkit.datasets.text.records import Rules; index = open_or_build(Path(sys.argv[1]), Rules()); "
        "print(len(index), int(index.starts[199_999]), index.container.path.stat().st_ino)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(source)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    answers = {process.communicate() for process in processes}
    assert {process.returncode for process in processes} == {0}
    assert len(answers) == 1  # the same file: it was built once
    size = source.stat().st_size
    assert next(iter(answers))[0].split()[:2] == [b"200000", str(size - len("line 199999\n")).encode()]


def test_what_killed_processes_left_is_removed_in_time(source):
    name = index_places(source, None, "records", {"quote": "", "delimiter": ""})[0].name
    old, recent = (source.parent / f".{name}.parts{i}" for i in range(2))
    old.mkdir()
    recent.mkdir()
    os.utime(old, (0, 0))
    open_or_build(source, LINES)
    assert (old.exists(), recent.exists()) == (False, True)


def test_what_killed_writers_left_is_removed_in_time(source):
    name = index_places(source, None, "records", {"quote": "", "delimiter": ""})[0].name
    old, recent = (source.parent / f".{name}.0123456789a{i}.tmp" for i in range(2))
    old.write_bytes(b"half")
    recent.write_bytes(b"half")
    os.utime(old, (0, 0))
    open_or_build(source, LINES)
    assert (old.exists(), recent.exists()) == (False, True)


def test_where_there_are_no_locks_everyone_builds(source, monkeypatch):
    monkeypatch.setattr("filelock.FileLock._acquire", lambda self: (_ for _ in ()).throw(NotImplementedError("no flock")))
    monkeypatch.setattr("filelock.UnixFileLock._acquire", lambda self: (_ for _ in ()).throw(NotImplementedError("no flock")))
    assert open_or_build(source, LINES).starts.tolist() == [0, 4, 9, 14]


def test_processes_without_torch_build_indexes(source):
    script = "import sys; import mmkit.datasets.text.index; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.strip() == b"False"


def test_lines_are_counted_from_one(source):
    assert [line_at(source, position) for position in (0, 3, 4, 8, 9)] == [1, 1, 2, 3, 4]


def test_a_place_depends_on_settings_alone_beside_the_file(tmp_path):
    first, _ = index_places(tmp_path / "a.txt", None, "records", {"quote": ""})
    assert first.parent == tmp_path
    assert json.loads(json.dumps(first.name)) == index_places(Path("/elsewhere/a.txt"), None, "records", {"quote": ""})[0].name
