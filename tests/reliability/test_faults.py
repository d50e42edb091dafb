"""Faults: NaN, dead and hanging workers, memory, disks. Each is told with what caused it, and what was saved stays good."""

import errno
import json
import os
import re
from functools import partial

import pytest

from mmkit.dataloader import watched
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, list_checkpoints, newest_good, verify
from mmkit.experiment.faults import all_finite
from mmkit.experiment.input_record import read_record as read_inputs
from mmkit.experiment.run_dir import read_record
from tests.reliability.exact_run import SHORT, SHORT_STEPS, differences, in_child, latest, left_of, train, wait_for
from tests.reliability.trouble import (
    Deadly,
    Endless,
    FillDisk,
    FreeDisk,
    MakeReadOnly,
    Nan,
    SendSignals,
    TakeAllMemory,
    Vectors,
    planted,
    read_from,
)


@pytest.fixture
def failed(project, tmp_path):
    """Run in a process of its own; returns exit code, directory and what was printed."""
    run_dir, output = tmp_path / "run", tmp_path / "output"

    def failed(*overrides):
        child = in_child(partial(train, project, run_dir, *SHORT, *overrides), output)
        code = wait_for(child)[0]
        assert left_of(child) == []
        return code, run_dir, output.read_text()

    return failed


def steps_saved(run_dir):
    return {info.step for info in list_checkpoints(run_dir / "checkpoints", thorough=True) if info.problem is None}


# NaN


@pytest.mark.parametrize("bad", [3, 150, pytest.param(77, marks=pytest.mark.slow)])
def test_nan_is_found_within_ten_batches_and_never_saved(bad, failed):
    code, run_dir, output = failed(*read_from(Nan, bad=bad))
    assert code == 1
    assert "The loss is nan in step" in output
    facts = json.loads((run_dir / "nonfinite.json").read_text())
    first = facts["batches"][0]
    assert [0, bad] in first["example_ids"]["rgb"]
    read = read_inputs(run_dir / "inputs-rank-0.jsonl")
    where = next(key for key, line in read.items() if [0, bad] in line["ids"]["rgb"])
    assert (first["epoch"], first["batch_index"]) == where
    assert max(read)[1] - first["batch_index"] <= 10
    assert all(info.step < first["step"] for info in list_checkpoints(run_dir / "checkpoints"))
    assert_weights_are_finite(run_dir)
    assert read_record(run_dir)["attempts"][-1]["reason"] == "NonFiniteError"


def assert_weights_are_finite(run_dir):
    for info in list_checkpoints(run_dir / "checkpoints"):
        checkpoint = DirectoryCheckpointIO().load_checkpoint(info.path)
        assert all_finite(value for value in checkpoint["state_dict"].values() if value.is_floating_point())


def test_run_goes_on_from_the_last_good_step_when_the_data_is_repaired(failed, project):
    _, run_dir, _ = failed(*read_from(Nan, bad=150))
    train(project, run_dir, *SHORT, *read_from(Vectors, bad=-1))
    assert latest(run_dir) == SHORT_STEPS
    assert_weights_are_finite(run_dir)


# Workers


def test_killed_worker_is_reported_with_what_it_read(failed):
    code, run_dir, output = failed(*read_from(Deadly, bad=88), "dataloader.train.num_workers=2")
    assert code == 1
    assert "was killed by SIGKILL while reading " in output
    assert "vectors" in output.split("while reading ")[1]
    assert "88" in output.split("while reading ")[1]
    assert verify(newest_good(run_dir / "checkpoints") or run_dir)


def test_hanging_worker_is_reported_while_it_hangs_and_the_run_goes_on(failed, monkeypatch):
    monkeypatch.setattr(watched, "STALL_SECONDS", 0.3)
    code, run_dir, _ = failed(*read_from(Endless, bad=88, seconds=2), "dataloader.train.num_workers=1")
    assert code == 0
    log = (run_dir / "logs" / "rank-0.log").read_text()
    told = next(line for line in log.splitlines() if "Waiting for a batch for " in line and "while reading" in line)
    assert "vectors" in told
    assert "88" in told


def test_worker_that_hangs_too_long_ends_the_run(failed):
    hanging = read_from(Endless, bad=88, seconds=100)
    code, _, output = failed(*hanging, "dataloader.train.num_workers=1", "dataloader.train.timeout=1")
    assert code == 1
    assert "DataLoader timed out" in output
    assert "while reading" in output
    assert "88" in output.split("while reading")[1]


# Memory


def test_out_of_memory_is_one_message_with_the_shapes_of_the_batch(failed):
    code, run_dir, output = failed(*planted(TakeAllMemory, batch=12))
    assert code == 1
    told = [line for line in output.splitlines() if line.startswith("mmkit_run:")]
    assert len(told) == 1
    assert "Out of memory: " in told[0]
    assert "rgb float32(4, 8)" in told[0]
    assert "text float32(4, 8)" in told[0]
    assert "Make dataloader.train.batch_size smaller" in told[0]
    assert steps_saved(run_dir) == {5}


# Disks


WIDE = [f"task.encoders.{name}.width=2000" for name in ("rgb", "text")]


def test_full_disk_costs_saves_and_not_the_run(failed):
    code, run_dir, output = failed(*WIDE, *planted(FillDisk, batch=12, size=100_000))
    assert code == 1
    assert f"The checkpoint {run_dir}/checkpoints/step-000020 was not written: File too large (EFBIG)" in output
    assert re.search(r"It takes [\d,]{7,} bytes; [\d,]+ are free there", output)
    assert f"The last one that was saved is {run_dir}/checkpoints/step-000005." in output
    log = (run_dir / "logs" / "rank-0.log").read_text()
    assert log.count("was not written") == 3  # of steps 10, 15 and 20: it was tried again and again
    assert steps_saved(run_dir) == {5}
    assert newest_good(run_dir / "checkpoints") == run_dir / "checkpoints" / "step-000005"
    assert list((run_dir / "checkpoints").glob(".*")) == []
    assert max(read_inputs(run_dir / "inputs-rank-0.jsonl"))[1] == 2 * SHORT_STEPS - 1


def test_run_with_a_disk_that_is_full_for_a_while_is_complete(failed, project, tmp_path):
    code, run_dir, _ = failed(*WIDE, *planted(FillDisk, batch=12, size=100_000), *planted(FreeDisk, batch=35))
    assert code == 0
    assert "step-000015 was not written" in (run_dir / "logs" / "rank-0.log").read_text()
    straight = train(project, tmp_path / "straight", *SHORT, *WIDE)
    assert differences(straight, run_dir, SHORT_STEPS) == []
    assert read_record(run_dir)["status"] == "finished"


def test_full_disk_and_a_stop_tell_that_nothing_was_saved(failed):
    full = planted(FillDisk, batch=12, size=100_000)
    code, run_dir, output = failed(*WIDE, *full, *planted(SendSignals, names="[SIGTERM]", batch=26))
    assert code == 1
    assert f"The checkpoint {run_dir}/checkpoints/step-000013 was not written" in output
    assert steps_saved(run_dir) == {5}


def test_read_only_disk_is_told_at_once_and_the_run_resumes_later(failed, project, tmp_path):
    code, run_dir, output = failed(*planted(MakeReadOnly, batch=12))
    assert code == 1
    assert f"step-000020 was not written: {os.strerror(errno.EROFS)} (EROFS). It takes " in output
    assert steps_saved(run_dir) == {5}
    train(project, run_dir, *SHORT)
    assert differences(train(project, tmp_path / "straight", *SHORT), run_dir, SHORT_STEPS) == []
