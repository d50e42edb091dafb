"""Every experiment that mmkit ships is composed, built and run for two batches, on its real data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mmkit.conf.projects import find_projects
from mmkit.datasets.preparation import prepare
from projects.emoji_clip.recipe import EmojiRecipe


SHIPPED = [project for project in find_projects(Path("/")) if project.package.startswith("projects.")]
EXPERIMENTS = [name for project in SHIPPED for name in project.experiments()]
TWO_BATCHES = ["trainer.max_epochs=1", *(f"trainer.limit_{stage}_batches=2" for stage in ("train", "val", "test"))]

# What an experiment needs beside its name.
NEEDS = {"emoji_search": ['task.evaluation_tasks.search.task.query="something to drink"']}


@pytest.fixture(scope="session", autouse=True)
def emoji():
    """The part of the data that needs no download; a few seconds if it is not there yet."""
    if not EmojiRecipe().prepared():
        prepare(EmojiRecipe(), "pypi", console=Console(quiet=True))


def mmkit_run(folder, *arguments):
    command = [sys.executable, "-W", "ignore", "-c", "from mmkit.cli.run import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in NEEDS])
def test_experiment_runs_two_batches(name, tmp_path):
    done = mmkit_run(tmp_path, f"experiment={name}", *TWO_BATCHES)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Run directory" in done.stdout


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_is_shown_without_running(name, tmp_path):
    done = mmkit_run(tmp_path, f"experiment={name}", *NEEDS.get(name, []), "--help")
    assert done.returncode == 0, done.stderr
    assert f"experiment_name: {name}" in done.stdout
    assert list(tmp_path.iterdir()) == []
