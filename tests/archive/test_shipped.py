"""The tasks of the shipped experiments are saved and restored."""

import subprocess
import sys

import pytest
import torch
from hydra import compose, initialize_config_module

from mmkit.archive import build
from mmkit.conf.projects import find_projects
from mmkit.tasks.base import TrainingTask
from projects.emoji_clip import configs


EXPERIMENTS = {
    "emoji_clip": ["task.evaluation_tasks.sheet.task.path=x.png"],
    "emoji_scratch": ["task.evaluation_tasks.sheet.task.path=x.png"],
    "emoji_search": ["task.evaluation_tasks.search.task.path=x.png", "task.evaluation_tasks.search.task.query=tea"],
    "emoji_three_way": ["task.evaluation_tasks.sheet.task.path=x.png"],
    "emoji_zeroshot": ["task.evaluation_tasks.sheet.task.path=x.png"],
}
IN_A_FRESH_PROCESS = """
import sys
import mmkit
from mmkit.errors import RefusedError
try:
    mmkit.from_pretrained(sys.argv[1])
except RefusedError as error:
    print(error)
import projects.emoji_clip.configs
mmkit.from_pretrained(sys.argv[1])
"""


def task_of(name):
    with initialize_config_module(configs.__name__, version_base="1.3"):
        return build(compose("base_config", [f"+experiment={name}", *EXPERIMENTS[name]]).task)


def test_every_shipped_experiment_is_here():
    project = next(project for project in find_projects() if project.package == configs.__name__)
    assert project.experiments() == sorted(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_task_of_a_shipped_experiment_is_restored(name, tmp_path, caplog):
    with torch.random.fork_rng():
        task = task_of(name)
    restored = TrainingTask.restore_from(task.save_to(tmp_path / "a.mmkit"))
    assert list(restored.state_dict()) == list(task.state_dict())
    assert all(torch.equal(value, restored.state_dict()[key]) for key, value in task.state_dict().items())
    assert caplog.text == ""


def test_project_must_be_imported_first(tmp_path):
    with torch.random.fork_rng():
        path = task_of("emoji_clip").save_to(tmp_path / "a.mmkit")
    done = subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS, str(path)], capture_output=True, text=True, check=True)
    assert "names projects.emoji_clip.gallery.RetrievalSheet, which is not registered" in done.stdout
    assert "`import projects.emoji_clip.configs` first" in done.stdout
