"""Requests to stop: the run is saved at the next batch boundary, leaves no process behind, and ends the same when resumed."""

import os
import signal
import time
from functools import partial

import pytest

from mmkit.experiment.run_dir import read_record
from tests.reliability.exact_run import (
    RECORD,
    SHORT,
    SHORT_STEPS,
    differences,
    free_port,
    in_child,
    latest,
    left_of,
    mmkit_run,
    on_two_ranks,
    train,
    wait_for,
)
from tests.reliability.trouble import SendSignals, SendSignalsToSecondRank, StoppedInPreparation, planted, read_from


@pytest.fixture(scope="module")
def short(project, tmp_path_factory):
    """The short run without a break."""
    return train(project, tmp_path_factory.mktemp("short") / "run", *SHORT)


def stopped(project, run_dir, *overrides):
    """Exit code of a run in a process of its own; none of its processes is left."""
    child = in_child(lambda: train(project, run_dir, *SHORT, *overrides), run_dir.with_suffix(".log"))
    code = wait_for(child)[0]
    assert left_of(child) == []
    return code


def printed(run_dir):
    return run_dir.with_suffix(".log").read_text()


@pytest.mark.parametrize(
    ("name", "code", "stage", "batch", "workers", "saved"),
    [
        pytest.param("SIGTERM", 75, "train", 0, 0, 0, id="sigterm-first-batch", marks=pytest.mark.slow),
        pytest.param("SIGTERM", 75, "train", 13, 2, 7, id="sigterm-with-workers"),
        pytest.param("SIGUSR1", 75, "train", 39, 0, 20, id="sigusr1-last-batch"),
        pytest.param("SIGUSR2", 75, "train", 12, 0, 6, id="sigusr2-accumulation", marks=pytest.mark.slow),
        pytest.param("SIGTERM", 75, "validation", 0, 2, 10, id="sigterm-validation-with-workers"),
        pytest.param("SIGUSR1", 75, "validation", 1, 0, 10, id="sigusr1-validation", marks=pytest.mark.slow),
        pytest.param("SIGINT", 130, "train", 25, 2, 13, id="ctrl-c-with-workers"),
        pytest.param("SIGINT", 130, "validation", 1, 0, 10, id="ctrl-c-validation", marks=pytest.mark.slow),
    ],
)
def test_signal_stops_a_run_that_ends_the_same_when_resumed(name, code, stage, batch, workers, saved, project, short, tmp_path):
    run_dir, loaders = tmp_path / "run", [f"dataloader.{split}.num_workers={workers}" for split in ("train", "val")]
    signals = planted(SendSignals, names=f"[{name}]", stage=stage, batch=batch)
    assert stopped(project, run_dir, *signals, "trainer.num_sanity_val_steps=0", *loaders) == code, printed(run_dir)
    assert latest(run_dir) == saved
    record = read_record(run_dir)
    assert (record["status"], record["attempts"][-1]["reason"]) == ("stopped", name)
    assert not (run_dir / "run.lock").exists()
    train(project, run_dir, *SHORT, *loaders)
    assert differences(short, run_dir, SHORT_STEPS) == []
    assert read_record(run_dir)["attempts"][-1]["from_step"] == saved


def test_signal_in_the_sanity_check_loses_nothing(project, short, tmp_path):
    run_dir = tmp_path / "run"
    assert stopped(project, run_dir, *planted(SendSignals, names="[SIGTERM]", stage="validation")) == 75
    assert "Stopped by SIGTERM. " in printed(run_dir)
    train(project, run_dir, *SHORT)
    assert differences(short, run_dir, SHORT_STEPS) == []


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGUSR1", marks=pytest.mark.slow)])
def test_signal_in_the_preparation_of_data_does_not_wait(name, project, tmp_path):
    run_dir, started = tmp_path / "run", time.monotonic()
    assert stopped(project, run_dir, *read_from(StoppedInPreparation, name=name)) == 75
    assert time.monotonic() - started < 50
    assert f"Stopped by {name}. " in printed(run_dir)
    record = read_record(run_dir)
    assert (record["status"], record["attempts"][-1]["reason"]) == ("stopped", name)


def test_ctrl_c_twice_does_not_wait_for_the_batch(project, tmp_path):
    run_dir = tmp_path / "run"
    child = in_child(
        lambda: train(project, run_dir, *SHORT, *planted(SendSignals, names="[SIGINT]", batch=14, wait=60)), tmp_path / "run.log"
    )
    while "again to stop at once" not in (printed(run_dir) if (tmp_path / "run.log").exists() else ""):
        time.sleep(0.05)
    again = time.monotonic()
    os.kill(child, signal.SIGINT)
    assert wait_for(child) == [130]
    assert time.monotonic() - again < 20
    assert left_of(child) == []
    assert latest(run_dir) == 5  # what was saved before


def test_time_limit_stops_a_run_that_ends_the_same_when_resumed(project, short, tmp_path):
    run_dir = tmp_path / "run"
    late = [*planted(SendSignals, names="[]", batch=20, wait=1.5), "exp_manager.max_time_per_run={milliseconds: 1500}"]
    assert stopped(project, run_dir, *late) == 75
    assert "Stopped by max_time_per_run; saved to" in printed(run_dir)
    assert latest(run_dir) <= 10
    train(project, run_dir, *SHORT)
    assert differences(short, run_dir, SHORT_STEPS) == []


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
def test_two_ranks_stop_together(project, tmp_path):
    run_dir = tmp_path / "run"
    only_the_second = planted(SendSignalsToSecondRank, names="[SIGUSR1]", batch=6)
    assert on_two(project, run_dir, *only_the_second) == [75, 75], printed(run_dir)
    assert latest(run_dir) >= 3
    assert on_two(project, run_dir) == [0, 0], printed(run_dir)
    assert (latest(run_dir), read_record(run_dir)["status"]) == (5, "finished")


def on_two(project, run_dir, *overrides):
    settings = ("trainer.strategy=ddp", "trainer.devices=2", "dataloader.train.batch_size=2", "trainer.max_steps=5")
    work = partial(train, project, run_dir, *SHORT, *settings, *overrides)
    return wait_for(*on_two_ranks(work, free_port(), run_dir.with_suffix(".log")))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGUSR2", 75), ("SIGINT", 130)])
def test_the_command_stops_with_its_exit_code(name, code, project, straight, tmp_path):
    run_dir = tmp_path / "run"
    process = mmkit_run(project, "experiment=exact", f"exp_manager.explicit_log_dir={run_dir}", RECORD)
    while latest(run_dir) < 10 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, getattr(signal, name))
    _, error = process.communicate(timeout=120)
    assert process.returncode == code, error
    assert f"saved to {run_dir}" in error
    assert left_of(process.pid) == []
    train(project, run_dir, RECORD)
    assert differences(straight, run_dir) == []
