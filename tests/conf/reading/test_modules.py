import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.conf.reading import NoSuchModule, Unreadable, find_module, read_module, recording, search_also
from mmkit.conf.reading import modules as reading_modules


Write = Callable[[str, str], Path]


def test_a_module_is_found_without_importing_its_package(write: Write) -> None:
    file = write("loud_package/inner.py", "")
    write("loud_package/__init__.py", "raise RuntimeError('imported')")
    assert find_module("loud_package.inner") == file
    assert "loud_package" not in sys.modules


def test_directories_without_init_are_packages_however_deep(write: Write) -> None:
    file = write("open_space/deeper/module.py", "")
    assert find_module("open_space.deeper.module") == file
    assert find_module("open_space.deeper") == file.parent


def test_roots_are_searched_after_the_search_path(tmp_path: Path, write: Write) -> None:
    first, second = write("seen_twice.py", ""), write("elsewhere/seen_twice.py", "")
    only = write("elsewhere/seen_once.py", "")
    assert find_module("seen_twice", roots=[second.parent]) == first
    assert find_module("seen_once", roots=[second.parent]) == only
    with pytest.raises(NoSuchModule):
        find_module("seen_once")


def test_a_directory_can_be_searched_from_now_on(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_modules, "_roots", [])
    file = write("projects_of_mine/a_project/__init__.py", "")
    search_also(file.parent.parent)
    assert read_module("a_project").path == file


def test_a_compiled_module_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="_json is compiled"):
        read_module("_json")
    with pytest.raises(Unreadable, match="sys is compiled"):
        read_module("sys")


def test_a_module_that_is_not_python_is_unreadable(write: Write) -> None:
    write("broken_module.py", "def (")
    with pytest.raises(Unreadable, match=r"broken_module\.py is not valid Python"):
        read_module("broken_module")


@pytest.mark.parametrize(
    ("dotted", "missing", "top_level", "close"),
    [
        ("a_pakage.module", "a_pakage", True, "a_package"),
        ("a_package.modul", "a_package.modul", False, "module"),
        ("a_package.Module.deeper", "a_package.Module", False, "module"),
    ],
)
def test_what_is_missing_is_named_with_close_names(write: Write, dotted: str, missing: str, top_level: bool, close: str) -> None:
    write("a_package/__init__.py", "")
    write("a_package/module.py", "")
    with pytest.raises(NoSuchModule) as error:
        find_module(dotted)
    assert (error.value.dotted, error.value.top_level_missing, error.value.close[0]) == (missing, top_level, close)


def test_a_changed_file_is_read_again(write: Write) -> None:
    file = write("changing.py", "A = 1")
    assert "A" in read_module("changing").body.names
    file.write_text("B = 1")
    os.utime(file, ns=(1, 1))
    assert list(read_module("changing").body.names) == ["B"]


def test_a_removed_file_is_missed(write: Write) -> None:
    file = write("fleeting.py", "")
    assert find_module("fleeting") == file
    file.unlink()
    with pytest.raises(NoSuchModule):
        find_module("fleeting")


def test_recording_names_every_file_also_those_in_memory(write: Write) -> None:
    file = write("recorded.py", "")
    for _ in range(2):
        with recording() as outer, recording() as inner:
            read_module("recorded")
        assert outer == inner == {file}
