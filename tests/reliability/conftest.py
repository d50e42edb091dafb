"""The experiment of these tests, once."""

from pathlib import Path

import pytest

from tests.reliability.exact_run import KEEP_ALL, train, write_project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the project ``exact_run``."""
    return write_project(tmp_path_factory.mktemp("reliability"))


@pytest.fixture(scope="session")
def straight(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without a break, with a checkpoint of every step."""
    return train(project, tmp_path_factory.mktemp("straight") / "run", *KEEP_ALL)
