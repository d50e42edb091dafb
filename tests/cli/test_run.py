"""``mmkit_run`` as a user types it; each test starts the real command."""

import os
import pickle
import shutil
import subprocess
import sys

import pytest

from mmkit.cli.job import job
from mmkit.cli.preflight.arguments import with_plus


def mmkit_run(*arguments, cwd=None):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", "from mmkit.cli.run import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def metric(output, name):
    return next(line.split()[1] for line in output.splitlines() if line.startswith(f"{name} "))


def run_directory(project):
    (directory,) = project.glob("outputs/first/*")
    return directory


def test_an_experiment_of_the_current_directory_trains_and_tells_where_everything_is(project):
    done = mmkit_run("+experiment=first")
    assert done.returncode == 0, done.stderr
    assert sum("train/loss" in line for line in done.stdout.splitlines() if line.startswith("epoch ")) == 2
    checkpoint = run_directory(project) / "checkpoints" / "step-000006"
    assert os.path.relpath(checkpoint, project) in done.stdout.replace("\n", "")
    assert (run_directory(project) / "csv" / "version_0" / "metrics.csv").exists()

    again = mmkit_run("experiment=first", "job_type=eval", f"resume_from_checkpoint={checkpoint}")
    assert again.returncode == 0, again.stderr
    assert metric(again.stdout, "val/loss") == metric(done.stdout, "val/loss")  # the last epoch is the best one here


@pytest.mark.parametrize("scheme", ["pkg", "file"])
def test_a_project_elsewhere_is_named_on_the_search_path(project, scheme, tmp_path):
    shutil.move(project / "my_project", project / "away" / "my_project")
    entry = "pkg://away.my_project.configs" if scheme == "pkg" else f"file://{project}/away/my_project/configs"
    if scheme == "pkg":
        (project / "away" / "my_project" / "configs" / "__init__.py").write_text("from away.my_project import parts\n")
    done = mmkit_run(f"hydra.searchpath=[{entry}]", "+experiment=first", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "parts.Vectors" in done.stdout


def test_help_shows_the_composed_configuration_of_the_experiment(project):
    done = mmkit_run("experiment=first", "task.optimizer.lr=0.25", "--help")
    assert done.returncode == 0, done.stderr
    assert "_target_: my_project.parts.Linear" in done.stdout
    assert "lr: 0.25" in done.stdout
    assert not (project / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["+experiment=frist"], 2, "Type +experiment=first", id="unknown-experiment"),
        pytest.param(
            ["experiment=first", "trainer.max_epochs=abc"], 2, "trainer.max_epochs=abc: 'abc' is not an integer.", id="wrong-type"
        ),
        pytest.param(["experiment=first", "job_type=evil"], 2, "Type job_type=eval", id="job-type"),
        pytest.param(
            ["experiment=first", "resume_from_checkpoint=nope.ckpt"],
            3,
            "nope.ckpt: there is no such checkpoint",
            id="no-checkpoint",
        ),
        pytest.param(
            ["experiment=first", "task.encoders.rgb.width=0"], 1, "task.encoders.rgb: width=0: it must be", id="constructor"
        ),
        pytest.param(["experiment=first", "datasets.train=null"], 2, "datasets.train is empty. Name a data set", id="no-data"),
        pytest.param(["experiment=first", "task.encoders.rgb.width=3"], 1, "rgb", id="embedding-sizes"),
    ],
)
def test_mistakes_end_in_one_line_and_an_exit_code(project, arguments, code, message):
    done = mmkit_run(*arguments)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_bare_command_lists_the_experiments(project):
    done = mmkit_run()
    assert done.returncode == 2
    assert "first" in done.stdout
    assert "torch" not in done.stderr


def test_sweep_runs_every_job(project):
    done = mmkit_run(
        "--multirun", "experiment=first", "task.optimizer.lr=0.1,0.2", "trainer.max_epochs=1", "hydra/launcher=basic"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run directory") == 2


def test_a_failing_job_of_a_sweep_is_told_without_a_trace_and_the_others_run(project):
    widths = "task.encoders.rgb.width=0,4"
    done = mmkit_run("--multirun", "experiment=first", widths, "trainer.max_epochs=1", "hydra/launcher=basic")
    assert done.returncode == 1
    assert done.stdout.count("Run directory") == 1
    assert "task.encoders.rgb: width=0: it must be at least 1." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_compiled_task_trains(project):
    done = mmkit_run(
        "experiment=first", "trainer.max_epochs=1", "torch_compile_kwargs.disable=false", "torch_compile_kwargs.backend=eager"
    )
    assert done.returncode == 0, done.stderr
    assert "val/loss" in done.stdout


def test_job_is_pickled_by_reference():
    assert pickle.loads(pickle.dumps(job)) is job
    assert len(pickle.dumps(job)) < 60


def test_plus_is_added_where_hydra_wants_it():
    assert [with_plus(argument) for argument in ("experiment=a", "+experiment=b", "x=1")] == [
        "+experiment=a",
        "+experiment=b",
        "x=1",
    ]
