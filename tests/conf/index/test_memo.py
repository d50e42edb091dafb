"""Memos hold only while the sources do, and whatever happens to them is made good silently."""

import json
import os
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from mmkit.conf import index
from mmkit.conf.index import catalog, memo, signatures
from mmkit.conf.reading import modules


PART = (
    'from mmkit.conf import external_store\n{extra}@external_store(group="g", name="{name}")\nclass Part({base}):\n    {body}\n'
)
BODY = "def __init__(self, size: int = {size}): ..."


def part(name="part", size=1, extra="", base="", body=BODY):
    return PART.format(name=name, extra=extra, base=base, body=body.format(size=size))


@pytest.fixture
def reads(monkeypatch):
    """What was read from source: a list that grows."""
    from mmkit.conf.index import roots

    found: list[str] = []
    read_root, from_source = roots.read_root, signatures._from_source
    monkeypatch.setattr(roots, "read_root", lambda root: (found.append(root), read_root(root))[1])
    monkeypatch.setattr(signatures, "_from_source", lambda dotted: (found.append(dotted), from_source(dotted))[1])
    return found


def told(reads):
    """The entries and their configurations, and what had to be read for them, as a new process sees it."""
    index.forget()
    modules._found.clear()  # a process finds a module once
    reads.clear()
    result = {entry.name: dict(index.node(entry)) for entry in index.entries("g")}
    return {name: {key: value for key, value in node.items() if key[0] != "_"} for name, node in result.items()}, sorted(reads)


BOTH = ["mine.configs", "mine.parts.Part"]


def test_what_was_read_is_not_read_again(project, write, reads, memos):
    write(parts=part())
    assert told(reads) == ({"part": {"size": 1}}, BOTH)
    assert told(reads) == ({"part": {"size": 1}}, [])
    assert len(list(memos.iterdir())) == 2


def test_an_edited_default_is_seen(project, write, reads):
    write(parts=part())
    told(reads)
    write(parts=part(size=2))
    assert told(reads) == ({"part": {"size": 2}}, BOTH)


def test_an_edited_base_class_in_another_file_is_seen(project, write, reads):
    write(
        parts=part(extra="from mine.base import Base\n", base="Base", body="pass"),
        base=f"class Base:\n    {BODY.format(size=1)}\n",
    )
    assert told(reads)[0] == {"part": {"size": 1}}
    write(base=f"class Base:\n    {BODY.format(size=3)}\n")
    assert told(reads) == ({"part": {"size": 3}}, BOTH)


def test_the_base_of_a_base_counts_for_every_class_that_has_it(project, write, reads):
    both = part(extra="from mine.base import Base\n", base="Base", body="pass")
    write(
        parts=both + '@external_store(group="g", name="other")\nclass Other(Base): ...\n',
        base="from mine.deep import Deep\nclass Base(Deep): ...\n",
        deep=f"class Deep:\n    {BODY.format(size=1)}\n",
    )
    assert told(reads)[0] == {"part": {"size": 1}, "other": {"size": 1}}
    write(deep=f"class Deep:\n    {BODY.format(size=4)}\n")
    assert told(reads)[0] == {"part": {"size": 4}, "other": {"size": 4}}


def test_added_and_removed_registrations_are_seen(project, write, reads):
    write(parts=part())
    told(reads)
    write(parts=part() + '@external_store(group="g")\ndef more(): ...\n')
    assert sorted(told(reads)[0]) == ["more", "part"]
    write(parts="")
    assert told(reads)[0] == {}


def test_a_module_that_is_renamed_or_deleted_is_noticed(project, write, reads):
    write(parts="import mine.first\n", first=part())
    told(reads)
    (project / "first.py").rename(project / "second.py")
    with pytest.raises(ModuleNotFoundError, match=r"mine\.first"):
        told(reads)
    write(parts="import mine.second\n")
    assert told(reads)[0] == {"part": {"size": 1}}


def test_a_module_that_hides_another_is_noticed(project, write, reads, tmp_path):
    write(parts=part())
    told(reads)
    write(parts____init__=part(size=5))  # a package comes before the module beside it
    assert told(reads)[0] == {"part": {"size": 5}}
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "mine").mkdir()
    for name in ("__init__", "configs"):
        (tmp_path / "earlier" / "mine" / f"{name}.py").write_text("")
    sys.path.insert(0, str(tmp_path / "earlier"))
    assert told(reads)[0] == {}


def test_an_optional_module_that_appears_is_noticed(project, write, reads):
    write(parts="try:\n    from mine import extra\nexcept ImportError:\n    pass\n")
    assert told(reads)[0] == {}
    write(extra=part())
    assert told(reads)[0] == {"part": {"size": 1}}


@pytest.mark.parametrize("init", [{"deep____init__": ""}, {}], ids=["in a package", "in a folder"])
def test_an_optional_module_of_a_package_that_appears_is_noticed(project, write, reads, init):
    optional = "try:\n    import mine.deep.extra\nexcept ImportError:\n    pass\n"
    write(parts=optional, deep__known="", **init)
    assert told(reads) == ({}, ["mine.configs"])
    assert told(reads) == ({}, [])
    write(deep__extra=part())
    assert told(reads)[0] == {"part": {"size": 1}}


def test_an_optional_module_of_a_library_that_appears_is_noticed(project, write, reads, tmp_path):
    (tmp_path / "elsewhere" / "library").mkdir(parents=True)
    (tmp_path / "elsewhere" / "library" / "__init__.py").touch()
    sys.path.insert(0, str(tmp_path / "elsewhere"))
    write(parts="try:\n    import library.extra\nexcept ImportError:\n    pass\nelse:\n    import mine.extra\n", extra=part())
    assert told(reads)[0] == {}
    (tmp_path / "elsewhere" / "library" / "extra.py").touch()
    assert told(reads)[0] == {"part": {"size": 1}}


def test_what_runs_and_editors_leave_in_a_folder_does_not_matter(project, write, reads):
    write(parts=part())
    told(reads)
    (project / "__pycache__").mkdir()
    (project / ".parts.py.swp").touch()
    (project / "notes.txt").touch()
    assert told(reads) == ({"part": {"size": 1}}, [])


def test_an_edit_while_it_is_read_leaves_no_memo(project, write, reads, memos):
    write(parts=part())
    (project / "parts.py").write_text(part(size=6))  # now: its time stamp could stay the same after the next edit
    told(reads)
    assert not memos.exists() or not list(memos.iterdir())
    assert told(reads) == ({"part": {"size": 6}}, BOTH)


def _rewritten(path: Path, change) -> None:
    content = json.loads(path.read_bytes().partition(b"\n")[2])
    change(content)
    data = json.dumps(content).encode()
    path.write_bytes(b"%08x\n" % zlib.crc32(data) + data)


def _set(*keys, value):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "flipped": lambda path: path.write_bytes(path.read_bytes().replace(b'"size"', b'"sise"').replace(b"part", b"park")),
    "foreign": lambda path: path.write_bytes(b"\x80\x04\x95pickle"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "no object": lambda path: _rewritten(path, lambda content: None) or path.write_bytes(b"%08x\n[]" % zlib.crc32(b"[]")),
    "deep": lambda path: path.write_bytes(b"%08x\n" % zlib.crc32(b"[" * 99999) + b"[" * 99999),
    "huge": lambda path: path.write_bytes(b"0" * (memo._MAX_BYTES + 1)),
    "other version": lambda path: _rewritten(path, _set("key", 4, value="9.9")),
    "other Python": lambda path: _rewritten(path, _set("key", 5, value="2.7")),
    "no key": lambda path: _rewritten(path, lambda content: content.pop("key")),
    "no data": lambda path: _rewritten(path, _set("data", value=None)),
    "data of another kind": lambda path: _rewritten(path, _set("data", value={"entries": 3, "parameters": "x"})),
    "stamps of text": lambda path: _rewritten(path, _set("stamps", "files", value=["a", "b"])),
    "stamps of null": lambda path: _rewritten(path, _set("stamps", value=None)),
    "places of a list": lambda path: _rewritten(path, _set("stamps", "places", value=[])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_memo_is_read_anew_without_a_word(project, write, reads, memos, damage, capfd):
    write(parts=part())
    expected = told(reads)
    for path in list(memos.iterdir()):
        damage(path)
    assert told(reads) == expected
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", [3, None, [], {}, ["part"], "x" * 50, [["list"]], {"a": {"b": 1}}], ids=str)
def test_entries_and_signatures_of_the_wrong_shape_are_refused(project, write, reads, memos, wrong):
    write(parts=part())
    expected = told(reads)
    for path in list(memos.iterdir()):
        kept = path.read_bytes()
        places = ["entries", "problems"] if path.name.startswith("registrations") else ["parameters", "target", "line"]
        for key in places:
            path.write_bytes(kept)
            _rewritten(path, _set("data", key, value=wrong))
            if key not in ("entries", "problems", "parameters") or wrong != []:
                assert told(reads)[0] == expected[0]
        path.write_bytes(kept)


def test_memos_can_be_turned_off(project, write, reads, memos, monkeypatch):
    write(parts=part())
    monkeypatch.setenv("MMKIT_INDEX", "off")
    assert told(reads) == told(reads) == ({"part": {"size": 1}}, BOTH)
    assert not memos.exists()


@pytest.mark.parametrize("blocked", ["a file in its place", "no permission"])
def test_a_cache_that_cannot_be_written_is_left_alone(project, write, reads, memos, blocked, monkeypatch):
    write(parts=part())
    if blocked == "no permission":
        memos.mkdir(parents=True)
        memos.chmod(stat.S_IRUSR | stat.S_IXUSR)
        monkeypatch.setattr(memo.os, "replace", _refuse)  # the administrator may write everywhere
    else:
        memos.parent.mkdir(parents=True)
        memos.touch()
    assert told(reads) == told(reads) == ({"part": {"size": 1}}, BOTH)
    if memos.is_dir():
        memos.chmod(stat.S_IRWXU)


def _refuse(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


def test_old_memos_and_the_oldest_of_too_many_are_dropped(project, write, reads, memos, monkeypatch):
    memos.mkdir(parents=True)
    monkeypatch.setattr(memo, "_MAX_FILES", 5)
    monkeypatch.setattr(memo, "_cleared", set())
    for age in range(10):
        path = memos / f"signature-{age}.json"
        path.touch()
        os.utime(path, (time.time() - age * 3600, time.time() - age * 3600))
    os.utime(memos / "signature-1.json", (0, 0))
    write(parts=part())
    told(reads)
    left = {path.name for path in memos.iterdir() if path.name.startswith("signature-")}
    assert {f"signature-{age}.json" for age in (0, 2, 3, 4, 5)} <= left
    assert not left & {f"signature-{age}.json" for age in (1, 6, 7, 8, 9)}


def test_a_use_is_noted_so_that_it_is_not_dropped(project, write, reads, memos):
    write(parts=part())
    told(reads)
    for path in memos.iterdir():
        os.utime(path, (time.time() - 10 * 86400,) * 2)
    assert told(reads)[1] == []
    assert all(time.time() - path.stat().st_mtime < 3600 for path in memos.iterdir())


def test_the_cache_is_where_platformdirs_puts_it(monkeypatch):
    from platformdirs import user_cache_path

    assert memo.memo_folder() == user_cache_path("mmkit") / "index"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert memo.memo_folder() == user_cache_path("mmkit") / "index"


PROGRAM = """
import sys
from mmkit.conf import index
from mmkit.conf.index.nodes import make_node
index.add_package("mine.configs", sys.argv[1])
for _ in range(5):
    index.forget()
    entries = index.entries("modules/losses")
    nodes = [make_node(entry, index.signature(entry.target)) for entry in entries[:3]]
    print(len(entries), [entry.name for entry in index.entries("g")], nodes[1].loss if "loss" in nodes[1] else sorted(nodes[0]))
"""


def test_many_processes_at_once_agree(project, write, tmp_path, memos):
    write(parts=part())
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "project")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    results = [process.communicate() for process in processes]
    assert {error for _, error in results} == {""}
    assert len({line for output, _ in results for line in output.splitlines()}) == 1
    assert not [path for path in memos.iterdir() if path.name.endswith(".partial")]
    assert catalog.entries("g")[0].name == "part"
