"""``my_project`` of the corpus, as the current directory."""

import sys
from pathlib import Path

import pytest

from mmkit.conf import projects
from tests.cli.preflight.corpus import EXPERIMENT, PARTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the project; one for all cases, so that its source is read once."""
    root = tmp_path_factory.mktemp("home")
    configs = root / "my_project" / "configs"
    (configs / "experiment").mkdir(parents=True)
    (configs / "__init__.py").write_text("from my_project import parts\n")
    (configs / "experiment" / "first.yaml").write_text(EXPERIMENT)
    (root / "my_project" / "parts.py").write_text(PARTS)
    return root


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory, current; what takes part in a run is forgotten afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(projects, "_used", [])
    monkeypatch.setattr(projects, "_imported_roots", [])
    monkeypatch.setenv(projects.PROJECTS_VARIABLE, "")
    return folder


@pytest.fixture
def study(home: Path):
    """Writes an experiment of this name; it is gone after the test."""
    path = home / "my_project" / "configs" / "experiment" / "study.yaml"
    yield path.write_text
    path.unlink(missing_ok=True)
