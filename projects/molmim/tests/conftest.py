"""A stand-in for the data set ``moses``."""

import pytest

from tests.projects.moses import provide_moses


@pytest.fixture
def moses(monkeypatch, tmp_path):
    """Its folder, where the data set looks for it."""
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    return provide_moses()
