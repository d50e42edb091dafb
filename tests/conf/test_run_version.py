import json
import os
import subprocess
import sys

import pytest
from hydra import compose, initialize
from omegaconf import OmegaConf

from mmkit.conf.run_version import check_location, launch_id, new_version, newest_run, run_directory, run_of
from mmkit.errors import UsageError


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMKIT_VERSION", "")  # an empty variable is none; restores what a test exports
    return tmp_path


def composed(*overrides):
    with initialize(version_base="1.3", config_path=None):
        return compose("base_config", overrides=["task=ContrastivePretraining", "experiment_name=first", *overrides])


def a_run(path, start, job_type="train", saved=False):
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({"job_type": job_type, "attempts": [{"start": start}]}))
    if saved:
        (path / "checkpoints" / "step-000001").mkdir(parents=True)
    return path


def test_version_is_the_date_and_a_random_id_and_other_processes_inherit_it():
    first = run_directory(composed())
    assert first.startswith("outputs/first/20")
    assert run_directory(composed()) == first
    assert f"outputs/first/{os.environ['MMKIT_VERSION']}" == first
    assert new_version({}) != new_version({})


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param(["exp_manager.version=a"], "outputs/first/a", id="version"),
        pytest.param(["exp_manager.version=3"], "outputs/first/3", id="number"),
        pytest.param(["exp_manager.version=a", "exp_manager.exp_dir=/x", "exp_manager.name=n"], "/x/n/a", id="all"),
        pytest.param(["exp_manager.explicit_log_dir=/x/y"], "/x/y", id="explicit"),
        pytest.param([], "outputs/first/from-environment", id="environment"),
    ],
)
def test_directory_is_the_one_that_is_asked_for(overrides, expected, monkeypatch):
    monkeypatch.setenv("MMKIT_VERSION", "from-environment")
    assert run_directory(composed(*overrides)) == expected


def test_a_version_beside_an_explicit_directory_is_refused_naming_both():
    with pytest.raises(UsageError, match=r"exp_manager.version=a and exp_manager.explicit_log_dir=/x both say"):
        run_directory(composed("exp_manager.version=a", "exp_manager.explicit_log_dir=/x"))


@pytest.mark.parametrize("version", ["..", "a/b", "/a"])
def test_a_version_is_no_path(version):
    with pytest.raises(UsageError, match="it is the name of one folder"):
        run_directory(composed(f"exp_manager.version={version}"))


RESUME = "exp_manager.resume_if_exists=true"


def test_resuming_finds_the_newest_run_and_starts_one_if_there_is_none(workplace, monkeypatch):
    assert run_directory(composed(RESUME)).startswith("outputs/first/20")
    for name, start, job_type in [("b", "2026-01-02", "train"), ("a", "2026-01-03", "train"), ("c", "2026-01-04", "eval")]:
        a_run(workplace / "outputs/first" / name, start, job_type)
    monkeypatch.setenv("MMKIT_VERSION", "")
    assert run_directory(composed(RESUME)) == "outputs/first/a"  # evaluations are not continued
    a_run(workplace / "outputs/first/newer", "2026-01-05")
    assert run_directory(composed(RESUME)) == "outputs/first/a", "a process keeps to its answer"
    assert run_directory(composed(RESUME, "job_type=eval", "exp_manager.version=d")) == "outputs/first/d"


@pytest.mark.parametrize("which", ["latest", "best"])
def test_latest_and_best_are_those_of_the_newest_run_that_has_saved(workplace, which):
    a_run(workplace / "outputs/first/a", "2026-01-02", saved=True)
    a_run(workplace / "outputs/first/b", "2026-01-03")
    assert run_directory(composed(f"resume_from_checkpoint={which}")) == "outputs/first/a"


@pytest.mark.parametrize("path", ["old/run", "old/run/checkpoints", "old/run/checkpoints/step-000001"])
def test_a_checkpoint_of_a_run_is_continued_in_its_directory(workplace, path):
    run = a_run(workplace / "old/run", "2026-01-02", saved=True)
    assert run_directory(composed(f"resume_from_checkpoint={path}")) == str(run)
    assert run_directory(composed(f"resume_from_checkpoint={path}", "exp_manager.version=a")) == "outputs/first/a"
    assert run_directory(composed(f"resume_from_checkpoint={path}", "job_type=eval")) != str(run)


def test_a_checkpoint_outside_of_runs_starts_a_run(workplace):
    (workplace / "run.json").write_text("{}")  # too far up
    assert run_of(workplace / "a/b/c/step-1") is None
    assert run_directory(composed("resume_from_checkpoint=a/b/c/step-1")).startswith("outputs/first/20")


def test_a_sweep_is_resumed_as_a_whole(workplace):
    for job in ("0", "1"):
        a_run(workplace / "outputs/first/sweep" / job, "2026-01-02")
    a_run(workplace / "outputs/first/single", "2026-01-03")
    assert run_directory(composed(RESUME), is_sweep=True) == "outputs/first/sweep"
    assert newest_run(workplace / "outputs/first").name == "single"


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "node", "MASTER_PORT": "29500", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
}  # fmt: skip
SRUN = {"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}


def test_ranks_agree_and_launches_differ():
    ranks = [
        {**TORCHRUN, "RANK": rank, "TORCHELASTIC_ERROR_FILE": f"/tmp/t/none_x1/attempt_0/{rank}/error.json"} for rank in "01"
    ]
    again = {**ranks[0], "TORCHELASTIC_ERROR_FILE": "/tmp/t/none_x2/attempt_0/0/error.json"}
    restarted = {**ranks[0], "TORCHELASTIC_ERROR_FILE": "/tmp/t/none_x1/attempt_1/0/error.json"}
    assert new_version(ranks[0]) == new_version(ranks[1]) == new_version(restarted)
    assert new_version(again) != new_version(ranks[0])
    assert new_version({**SRUN, "SLURM_PROCID": "0"}) == new_version({**SRUN, "SLURM_PROCID": "1"}) == "slurm-12-0"
    assert new_version({**SRUN, "SLURM_RESTART_COUNT": "1"}) == "slurm-12-0-1"


@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_ID": "12"}, {**SRUN, "SLURM_STEP_NUM_TASKS": "1"}], ids=str)
def test_a_process_started_alone_belongs_to_no_launch(environment):
    assert launch_id(environment) is None


PROGRAM = """
import os, hydra, mmkit.conf.base
from pathlib import Path
from hydra.core.hydra_config import HydraConfig

def job(cfg):
    folder = Path(HydraConfig.get().runtime.output_dir)
    print(folder, sorted(path.name for path in folder.iterdir()), HydraConfig.get().run.dir)
    print("exported", os.environ.get("MMKIT_VERSION"))

hydra.main(version_base="1.3", config_path=None, config_name="base_config")(job)()
"""


def hydra_program(*arguments):
    base = ["experiment_name=first", "~task"]
    command = [sys.executable, "-c", PROGRAM, *arguments, *base]
    return subprocess.run(command, capture_output=True, text=True)


def test_hydra_leaves_the_directory_empty(workplace):
    done = hydra_program("exp_manager.version=a")
    assert done.stdout.split("\n")[0] == f"{workplace}/outputs/first/a [] outputs/first/a", done.stderr
    assert os.listdir(workplace) == ["outputs"]


def test_the_directory_of_a_run_stays_the_same_while_it_runs(workplace):
    run = a_run(workplace / "old/run", "2026-01-02", saved=True)
    done = hydra_program("resume_from_checkpoint=old/run/checkpoints/step-000001")
    assert done.stdout.endswith(f" {run}\nexported \n"), done.stdout


def test_jobs_of_a_sweep_share_a_folder(workplace):
    done = hydra_program("--multirun", "exp_manager.version=a", "seed=1,2")
    assert f"{workplace}/outputs/first/a/0 []" in done.stdout, done.stderr
    assert f"{workplace}/outputs/first/a/1 []" in done.stdout


def test_what_hydra_writes_about_a_sweep_has_no_secrets(workplace):
    secret = "trainer.plugins={password: swordfish}"
    done = hydra_program("--multirun", "exp_manager.version=a", "seed=1,2", secret)
    assert done.returncode == 0, done.stderr
    written = (workplace / "outputs/first/a/multirun.yaml").read_text()
    assert "swordfish" not in written
    assert "password: '***'" in written
    assert "seed=1,2" in written
    assert sorted(path.name for path in (workplace / "outputs/first/a").iterdir()) == ["0", "1", "multirun.yaml"]


@pytest.mark.parametrize("choice", ["none", "disabled", "default"])
def test_hydras_logging_can_be_chosen(choice):
    done = hydra_program("exp_manager.version=a", f"hydra/job_logging={choice}")
    assert done.returncode == 0, done.stderr


def test_previews_make_no_directory(workplace):
    for preview in (["--cfg", "job"], ["--cfg", "all"], ["--help"], ["--cfg", "job", "--resolve"]):
        done = hydra_program(*preview)
        assert done.returncode == 0, done.stderr
    assert os.listdir(workplace) == []


def test_a_contradiction_makes_nothing_and_does_not_end_hydra_in_a_trace(workplace):
    done = hydra_program("exp_manager.version=a", "exp_manager.explicit_log_dir=b")
    assert done.returncode == 0, done.stderr  # the run itself refuses it: test_a_contradiction_is_refused
    assert not (workplace / "b").exists()
    assert not (workplace / "outputs/first").exists()


def test_a_contradiction_is_refused(workplace):
    with pytest.raises(UsageError, match=r"exp_manager\.version=a and exp_manager\.explicit_log_dir=b both say"):
        check_location(OmegaConf.create({"exp_manager": {"version": "a", "explicit_log_dir": "b"}}))


def test_names_are_found_without_torch():
    code = "import sys, mmkit.conf.run_version; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
