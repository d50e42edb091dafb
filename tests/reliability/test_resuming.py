"""Going on with a run: from where, with what changed, and what happens when checkpoints are damaged."""

import logging
import os
import shutil
import sys
import time
from functools import partial

import pytest

from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.checkpoint import list_checkpoints
from mmkit.experiment.checkpoint.manifest import MANIFEST, STATE, TRAINER, WEIGHTS
from mmkit.experiment.comparison import different_states
from mmkit.experiment.run_dir import read_record
from tests.reliability.exact_run import (
    RECORD,
    SHORT,
    SHORT_STEPS,
    differences,
    in_child,
    latest,
    logged,
    mmkit_run,
    train,
    wait_for,
)
from tests.reliability.trouble import SendSignals, planted


MONITORED = (*SHORT, "exp_manager.checkpoint_callback_params.monitor=val/loss")
NO_RESUME = "exp_manager.resume_if_exists=false"
PAST_END = "exp_manager.resume_past_end=true"
slowly = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def short(project, tmp_path_factory):
    """The short run without a break."""
    return train(project, tmp_path_factory.mktemp("short") / "run", *MONITORED)


@pytest.fixture(scope="module")
def interrupted(project, tmp_path_factory):
    """A run that was stopped before its thirteenth step, with checkpoints of steps 10 and 12."""
    run_dir = tmp_path_factory.mktemp("interrupted") / "run"
    child = in_child(lambda: train(project, run_dir, *MONITORED, *planted(SendSignals, names="[SIGTERM]", batch=24)))
    assert wait_for(child) == [75]
    assert latest(run_dir) == 12
    return run_dir


@pytest.fixture
def run_dir(interrupted, tmp_path):
    """A copy of the interrupted run."""
    return shutil.copytree(interrupted, tmp_path / "run")


def step(number):
    return f"step-{number:06d}"


def scores(run_dir):
    return {info.step: info.score for info in list_checkpoints(run_dir / "checkpoints")}


@pytest.mark.parametrize("source", ["best", "RUN", "RUN/checkpoints/step-000012", slowly("latest"), slowly("RUN/checkpoints")])
def test_named_checkpoint_of_the_run_is_gone_on_from(source, project, short, run_dir, capsys):
    train(project, run_dir, *MONITORED, NO_RESUME, f"resume_from_checkpoint={source.replace('RUN', str(run_dir))}")
    assert (
        f"Going on from {run_dir}/checkpoints/{step(10 if source == 'best' else 12)}. Changed since:" in capsys.readouterr().err
    )
    assert differences(short, run_dir, SHORT_STEPS) == []
    assert scores(run_dir)[20] == scores(short)[20]


def test_checkpoint_of_another_run_is_gone_on_from_in_a_new_directory(project, short, interrupted, tmp_path):
    before = files(interrupted)
    new = train(project, tmp_path / "new", *MONITORED, NO_RESUME, f"resume_from_checkpoint={interrupted}")
    assert files(interrupted) == before
    assert read_record(new)["attempts"][0]["from_step"] == 12
    assert different_states(short / "checkpoints" / step(20), new / "checkpoints" / step(20)) == []


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_two_sources_of_weights_are_refused(project, run_dir, tmp_path):
    foreign = f"resume_from_checkpoint={run_dir}"
    message = rf"resume_from_checkpoint={run_dir} and init_from=clip\.mmkit both say with which weights to begin\. Remove one"
    with pytest.raises(UsageError, match=message):
        train(project, tmp_path / "new", NO_RESUME, foreign, "init_from=clip.mmkit")
    with pytest.raises(UsageError, match=message):
        train(project, tmp_path / "new", NO_RESUME, foreign, "init_from=clip.mmkit", "job_type=eval")
    assert not (tmp_path / "new").exists()


def test_run_goes_on_though_its_beginning_was_another_model(project, short, run_dir):
    train(project, run_dir, *MONITORED, "init_from=gone.mmkit")
    assert differences(short, run_dir, SHORT_STEPS) == []


def test_nothing_to_go_on_with_is_an_error_unless_it_is_ignored(project, tmp_path):
    with pytest.raises(
        UsageError, match=r"resume_if_exists=true, but .*run has no checkpoint\. Set .*resume_ignore_no_checkpoint=true"
    ):
        train(project, tmp_path / "run", "exp_manager.resume_ignore_no_checkpoint=false")
    with pytest.raises(RefusedError, match=r"resume_from_checkpoint=.*missing: there is no such checkpoint"):
        train(project, tmp_path / "run", f"resume_from_checkpoint={tmp_path}/missing")
    with pytest.raises(RefusedError, match=r"resume_from_checkpoint=best: there is no checkpoint in "):
        train(project, tmp_path / "run", "resume_from_checkpoint=best")
    assert not (tmp_path / "run").exists()


def test_every_changed_key_is_listed(project, run_dir, capsys):
    changes = {
        "task.optimizer.lr": "0.01 → 0.02",
        "dataloader.val.batch_size": "8 → 4",
        "trainer.gradient_clip_val": "None → 1000.0",
    }
    overrides = [f"{key}={change.partition(' → ')[2]}" for key, change in changes.items()]
    train(project, run_dir, *MONITORED, *planted(SendSignals, names="[SIGTERM]", batch=24, stage="none"), *overrides)
    told = [line.strip() for line in capsys.readouterr().err.split("Changed since:")[1].splitlines() if "→" in line]
    expected = {f"{key.lstrip('+')}: {change}" for key, change in changes.items()}
    assert set(told) == {*expected, "trainer.callbacks.SendSignals.stage: None → 'none'"}
    assert latest(run_dir) == 20


def test_another_architecture_is_refused_unless_it_is_wanted(project, run_dir):
    before = files(run_dir)
    with pytest.raises(
        UsageError, match=r"(?s)saved with another model:\n  task\.encoders\.rgb\.width: .*16 → 32\nSet allow_drift=true"
    ):
        train(project, run_dir, *MONITORED, "task.encoders.rgb.width=32")
    with pytest.raises(UsageError, match=r"task\.max_logit_scale: 100\.0 → 50\.0"):
        train(project, run_dir, *MONITORED, "task.max_logit_scale=50.0")
    assert files(run_dir) == before
    train(project, run_dir, *MONITORED, "task.max_logit_scale=50.0", "allow_drift=true")
    assert latest(run_dir) == 20


def truncate(path):
    os.truncate(path / WEIGHTS, (path / WEIGHTS).stat().st_size - 7)


def flip_a_bit(path):
    data = bytearray((path / TRAINER).read_bytes())
    data[len(data) // 2] ^= 16
    (path / TRAINER).write_bytes(data)


def empty(path):
    os.truncate(path / MANIFEST, 0)


def take_away(path):
    (path / STATE).unlink()


def swap(path):
    shutil.copy(path.with_name(step(10)) / WEIGHTS, path / WEIGHTS)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, slowly(empty), slowly(take_away), slowly(swap)])
def test_from_a_damaged_checkpoint_the_one_before_is_used_with_one_warning(damage, project, short, run_dir, caplog):
    damage(run_dir / "checkpoints" / step(12))
    with caplog.at_level(logging.WARNING):
        train(project, run_dir, *MONITORED)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([warning for warning in warnings if str(run_dir / "checkpoints") in warning]) == 1
    assert f"GOING ON FROM AN EARLIER CHECKPOINT, {run_dir}/checkpoints/{step(10)}, because\n  {run_dir}" in "".join(warnings)
    assert differences(short, run_dir, SHORT_STEPS) == []


@pytest.mark.parametrize("source", ["null", slowly("latest"), slowly("RUN"), "RUN/checkpoints/step-000012"])
def test_run_without_a_good_checkpoint_is_refused_and_not_begun_anew(source, project, run_dir, tmp_path):
    for number, damage in {5: truncate, 10: flip_a_bit, 12: empty}.items():
        damage(run_dir / "checkpoints" / step(number))
    before, output = files(run_dir), tmp_path / "output"
    source = f"resume_from_checkpoint={source.replace('RUN', str(run_dir))}"
    assert wait_for(in_child(lambda: train(project, run_dir, *MONITORED, source), output)) == [3]
    assert "manifest.json" in output.read_text()
    assert files(run_dir) == before


@pytest.mark.parametrize("steps", [slowly(10), 13])
def test_run_that_is_extended_is_like_the_longer_one(steps, project, short, tmp_path):
    run_dir = train(project, tmp_path / "run", *MONITORED, f"trainer.max_steps={steps}")
    assert latest(run_dir) == steps
    train(project, run_dir, *MONITORED, PAST_END)
    assert differences(short, run_dir, SHORT_STEPS) == ["metrics.jsonl"]
    # The shorter run has logged the mean of its last steps, which are then missing in the next mean.
    around_its_end = range(steps, steps + 3)
    assert logged_outside(around_its_end, run_dir) == logged_outside(around_its_end, short)


def logged_outside(steps, run_dir):
    return [line for line in logged(run_dir) if line["step"] not in steps]


def test_stop_in_a_validation_does_not_cost_its_score(project, short, tmp_path):
    run_dir = tmp_path / "run"
    signals = planted(SendSignals, names="[SIGTERM]", stage="validation", batch=1)
    stopped = in_child(lambda: train(project, run_dir, *MONITORED, "trainer.num_sanity_val_steps=0", *signals))
    assert wait_for(stopped) == [75]
    assert scores(run_dir)[10] is None
    train(project, run_dir, *MONITORED)
    assert scores(run_dir) == scores(short)


def test_run_is_resumed_by_its_directory_from_anywhere(project, short, run_dir, tmp_path):
    output = tmp_path / "output"

    def resume():
        os.chdir(tmp_path)
        from mmkit.cli.run import resume

        sys.argv = ["mmkit_run", "--resume", os.path.relpath(run_dir)]
        resume([os.path.relpath(run_dir), "~trainer.callbacks.SendSignals"])

    assert wait_for(in_child(resume, output)) == [0], output.read_text()
    assert f"Going on from {run_dir}/checkpoints/{step(12)}" in output.read_text()
    assert differences(short, run_dir, SHORT_STEPS) == []
    assert files(tmp_path).keys() == files(run_dir).keys() | {output}


@pytest.mark.slow
def test_the_commands_stop_and_resume(project, straight, tmp_path):
    run_dir = tmp_path / "run"
    process = mmkit_run(project, "experiment=exact", f"exp_manager.explicit_log_dir={run_dir}", RECORD)
    while latest(run_dir) < 10 and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    assert process.communicate(timeout=120)[0] is not None
    assert process.returncode == 75
    resumed = mmkit_run(
        tmp_path, "runs", "resume", "run", "trainer.log_every_n_steps=3", "dataloader.train.num_workers=1", command="mmkit"
    )
    _, error = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, error
    assert [line.strip() for line in error.splitlines() if "→" in line] == ["dataloader.train.num_workers: 0 → 1"]
    assert differences(straight, run_dir) == []
    again = mmkit_run(tmp_path, "runs", "resume", str(run_dir), command="mmkit")
    assert "is finished, at step 60. To train on, raise trainer.max_epochs" in again.communicate(timeout=120)[1]
    assert again.returncode == 2
