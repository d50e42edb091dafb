"""Modules that a test writes and reads."""

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Write a module, given its path under a directory of the search path, e.g. ``a_package/module.py``."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write_module(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    return write_module
