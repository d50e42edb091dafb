"""An index that knows nothing yet, with memos of its own."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmkit.conf import index, projects


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_store: None) -> Iterator[None]:
    """No project, no memo, and all as it was afterwards."""
    modules = set(sys.modules)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MMKIT_INDEX", raising=False)
    monkeypatch.setenv(projects.PROJECTS_VARIABLE, "[]")
    monkeypatch.setattr(projects, "_used", [])
    monkeypatch.setattr(projects, "_imported_roots", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    index.forget()
    yield
    index.forget()
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("mine", "elsewhere"):
            del sys.modules[name]


@pytest.fixture
def memos(tmp_path: Path) -> Path:
    """The folder of the memos."""
    return tmp_path / "cache" / "mmkit" / "index"


Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes modules of the project ``mine``, given by name, long enough ago to be memoised."""

    def written(**modules: str) -> None:
        for name, text in modules.items():
            path = tmp_path / "project" / "mine" / f"{name.replace('__', '/', 1) if name != '__init__' else name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            _age(path)
            for folder in path.parents[:3]:
                _age(folder)

    written(__init__="", configs____init__="import mine.parts\n")
    return written


@pytest.fixture
def project(write: Write, tmp_path: Path) -> Path:
    """The folder of ``mine``, which takes part; ``mine.parts`` is to be written."""
    index.add_package("mine.configs", tmp_path / "project")
    return tmp_path / "project" / "mine"


_clock = [time.time_ns() - 3600 * 10**9]


def _age(path: Path) -> None:
    _clock[0] += 10**9
    os.utime(path, ns=(_clock[0], _clock[0]))
