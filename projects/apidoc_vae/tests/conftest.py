"""A stand-in for the data set ``apidocs``."""

import pytest

from tests.projects.apidocs import provide_apidocs


@pytest.fixture
def apidocs(monkeypatch, tmp_path):
    """Its folder, where the data set looks for it."""
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    return provide_apidocs()
