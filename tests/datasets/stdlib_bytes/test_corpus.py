import hashlib
import json

import pytest

from mmkit.datasets.stdlib_bytes.corpus import load_corpus
from mmkit.errors import RefusedError


# One file in each split, and a second one for training.
CONTENTS = {"abc.py": b"import os\n", "argparse.py": "# é\n".encode(), "asyncio/queues.py": b"", "datetime.py": b"x = 1\n"}


@pytest.fixture
def sources(tmp_path):
    root = tmp_path / "lib"
    for name, content in CONTENTS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_splits_hold_their_files_each_after_a_zero(sources, tmp_path):
    corpus = load_corpus(sources, tmp_path / "cache")
    found = {split: corpus.split(split).tobytes() for split in ("train", "val", "test")}
    assert found == {"train": b"\0import os\n\0# \xc3\xa9\n", "val": b"\0", "test": b"\0x = 1\n"}


def test_the_index_says_where_every_file_is(sources, tmp_path):
    corpus = load_corpus(sources, tmp_path / "cache")
    content = (corpus.folder / "bytes.bin").read_bytes()
    assert [entry["path"] for entry in corpus.index["files"]] == ["abc.py", "argparse.py", "asyncio/queues.py", "datetime.py"]
    for entry in corpus.index["files"]:
        assert content[entry["start"] : entry["start"] + entry["size"]] == b"\0" + CONTENTS[entry["path"]]
    assert corpus.index["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_same_sources_are_written_once(sources, tmp_path):
    folder = load_corpus(sources, tmp_path / "cache").folder
    written = (folder / "bytes.bin").stat().st_mtime_ns
    assert load_corpus(sources, tmp_path / "cache").folder == folder
    assert (folder / "bytes.bin").stat().st_mtime_ns == written


@pytest.mark.parametrize("change", ["content", "name"])
def test_changed_sources_make_another_corpus(sources, tmp_path, change):
    before = load_corpus(sources, tmp_path / "cache")
    if change == "content":
        (sources / "abc.py").write_bytes(b"import re\n")
    else:
        (sources / "abc.py").rename(sources / "abd.py")
    assert load_corpus(sources, tmp_path / "cache").folder != before.folder
    assert before.split("train").tobytes().startswith(b"\0import os")


@pytest.mark.parametrize("damage", ["cut", "changed", "no_index"])
def test_a_damaged_corpus_is_made_again(sources, tmp_path, damage):
    folder = load_corpus(sources, tmp_path / "cache").folder
    good = (folder / "bytes.bin").read_bytes()
    match damage:
        case "cut":
            (folder / "bytes.bin").write_bytes(good[:-1])
        case "changed":
            (folder / "bytes.bin").write_bytes(good.replace(b"os", b"re"))
        case "no_index":
            (folder / "index.json").write_text("{")
    assert (load_corpus(sources, tmp_path / "cache").folder / "bytes.bin").read_bytes() == good
    assert json.loads((folder / "index.json").read_text())["splits"]["val"] == [17, 18]


def test_what_is_no_source_is_left_out(sources, tmp_path):
    (sources / "binary.py").write_bytes(b"a\0b")
    assert "binary.py" not in [entry["path"] for entry in load_corpus(sources, tmp_path / "cache").index["files"]]


def test_a_python_without_source_is_refused(sources, tmp_path):
    (sources / "datetime.py").unlink()
    with pytest.raises(RefusedError, match=r"has 3 Python source files, none of them for test\. Some distributions leave"):
        load_corpus(sources, tmp_path / "cache")
