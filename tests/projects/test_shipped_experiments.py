"""Every experiment that mmkit ships is composed, built and run for two batches, on its real data where that needs no download."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mmkit.conf.projects import find_projects
from mmkit.datasets.preparation import prepare
from projects.emoji_clip.recipe import EmojiRecipe
from tests.projects.apidocs import provide_apidocs
from tests.projects.fashion_mnist import provide_fashion_mnist
from tests.projects.moses import provide_moses


SHIPPED = [project for project in find_projects(Path("/")) if project.package.startswith("projects.")]
EXPERIMENTS = [name for project in SHIPPED for name in project.experiments()]
TWO_BATCHES = ["trainer.max_epochs=1", *(f"trainer.limit_{stage}_batches=2" for stage in ("train", "val", "test"))]

# What an experiment needs beside its name.
NEEDS = {"emoji_search": ['task.evaluation_tasks.search.task.query="something to drink"']}

MOLECULES = "task.evaluation_tasks.molecules.task"
FEW_MOLECULES = [f"{MOLECULES}.num_samples=20", f"{MOLECULES}.num_reconstructions=8", f"{MOLECULES}.num_pairs=1"]
SMALL_STACKS = [f"task.model.{part}.{name}" for part in ("encoder", "decoder") for name in ("hidden_size=32", "num_layers=1")]

# What makes two batches of an experiment short, or lets a CPU run what is made for a GPU.
SMALLER = {
    "molmim": FEW_MOLECULES,
    "molmim_gpu": [
        *FEW_MOLECULES,
        *SMALL_STACKS,
        "task.model.hiddens.transform.q_z_given_x.hidden_size=32",
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
        "dataloader.train.batch_size=8",
        "dataloader.train.num_workers=0",
        "dataloader.train.persistent_workers=false",
        "dataloader.train.pin_memory=false",
        "dataloader.val.batch_size=8",
        "dataloader.test.batch_size=8",
    ],
    "apidoc_vae": ["task.evaluation_tasks.texts.task.num_samples=20", "task.num_reconstructions=8"],
}


@pytest.fixture(scope="session")
def environment(request):
    """Variables for commands that read a data folder of the tests' own, with the part that needs no download prepared."""
    folder = request.config.cache.mkdir("mmkit-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKIT_DATA", str(folder))
        prepare(EmojiRecipe(), "pypi", console=Console(quiet=True))
        provide_fashion_mnist()
        provide_moses()
        provide_apidocs()
    return os.environ | {"MMKIT_DATA": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def mmkit_run(environment, tmp_path):
    def mmkit_run(*arguments, command=("-c", "from mmkit.cli.run import main; main()")):
        line = [sys.executable, "-W", "ignore", *command, *arguments]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return mmkit_run


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in NEEDS])
def test_experiment_runs_two_batches(name, mmkit_run):
    done = mmkit_run(f"experiment={name}", *TWO_BATCHES, *SMALLER.get(name, []))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Run directory" in done.stdout


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_is_shown_without_running(name, mmkit_run, tmp_path):
    done = mmkit_run(f"experiment={name}", *NEEDS.get(name, []), "--help")
    assert done.returncode == 0, done.stderr
    assert f"experiment_name: {name}" in done.stdout
    assert list(tmp_path.iterdir()) == []


SEARCH = ("-m", "projects.emoji_clip.search")


def test_a_trained_model_is_searched_by_free_text(mmkit_run, tmp_path):
    missing = mmkit_run("something to drink", command=SEARCH)
    assert missing.returncode == 2
    assert "there is no trained model under outputs/. Type: mmkit_run +experiment=emoji_clip" in missing.stderr

    trained = mmkit_run("experiment=emoji_clip", "trainer.max_steps=3", "test_after_fit=false")
    assert trained.returncode == 0, trained.stderr[-4000:]
    done = mmkit_run('a "quoted" text, with a comma | tea', "task.evaluation_tasks.search.task.top_k=3", command=SEARCH)
    assert done.returncode == 0, done.stderr[-4000:]
    assert 'a "quoted" text, with a comma:' in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("  ")]) == 6
    assert len(list(tmp_path.glob("outputs/emoji_search/*/search.png"))) == 1
