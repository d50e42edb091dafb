"""The promise of exact resume: a run that goes on from any of its steps ends as the one without a break, bit by bit."""

import json
import shutil
import socket

import pytest

from tests.reliability.exact_run import KEEP_ALL, RECORD, STEPS, differences, on_two_ranks, train, wait_for


TWO_RANKS = ("trainer.strategy=ddp", "trainer.devices=2", "dataloader.train.batch_size=2")


def as_it_was(straight, step, run_dir):
    """A copy of the straight run as if it had been lost after one of its steps."""
    shutil.copytree(straight, run_dir, ignore=shutil.ignore_patterns("checkpoints"))
    name = f"step-{step:06d}"
    shutil.copytree(straight / "checkpoints" / name, run_dir / "checkpoints" / name)
    (run_dir / "checkpoints" / "LATEST").write_text(name + "\n")
    return run_dir


def resume(project, run_dir, *overrides):
    return train(project, run_dir, "exp_manager.resume_past_end=true", RECORD, *overrides)


def train_on_two_ranks(project, run_dir, *overrides):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = (*TWO_RANKS, "exp_manager.resume_past_end=true", *overrides)
    output = run_dir.with_suffix(".out")
    codes = wait_for(*on_two_ranks(lambda: train(project, run_dir, *settings), port, output))
    assert codes == [0, 0], output.read_text()
    return run_dir


def test_straight_run_saved_every_step(straight):
    assert len(list((straight / "checkpoints").glob("step-*"))) == STEPS


@pytest.mark.parametrize("step", [1, 7, 10, 19, 20, 21, 33, 40, 59])
def test_resumed_run_is_identical(step, straight, project, tmp_path):
    run_dir = resume(project, as_it_was(straight, step, tmp_path / "run"))
    assert differences(straight, run_dir) == []


def test_a_larger_batch_goes_on_at_the_same_example_and_ends_with_the_epoch(straight, project, tmp_path, caplog):
    record = as_it_was(straight, 10, tmp_path / "run") / "inputs-rank-0.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(lines[:20]))  # two batches a step
    resume(project, record.parent, "dataloader.train.batch_size=8", "trainer.max_epochs=1")
    assert "Epoch 0 goes on at batch 10, at about the same example." in caplog.text
    batches = [json.loads(line) for line in record.read_text().splitlines()]
    assert [batch["batch"] for batch in batches[20:]] == list(range(10, 20))
    assert sorted(index for batch in batches for _, index in batch["ids"]["rgb"]) == list(range(160))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_is_identical_from_every_step(workers, straight, project, tmp_path, capsys):
    for step in range(1, STEPS):
        run_dir = resume(project, as_it_was(straight, step, tmp_path / "run"), f"dataloader.train.num_workers={workers}")
        assert differences(straight, run_dir) == [], f"resumed at step {step}"
        shutil.rmtree(run_dir)
    with capsys.disabled():
        print(f"\nresumed from each of {STEPS - 1} steps with {workers} workers: {STEPS - 1} identical")


@pytest.mark.slow
def test_resumed_run_of_two_ranks_is_identical(project, tmp_path, capsys):
    straight, steps = train_on_two_ranks(project, tmp_path / "straight", *KEEP_ALL), range(3, STEPS, 6)
    for step in steps:
        run_dir = train_on_two_ranks(project, as_it_was(straight, step, tmp_path / str(step)), RECORD)
        assert differences(straight, run_dir) == [], f"resumed at step {step}"
    with capsys.disabled():
        print(f"\nresumed on two ranks from {len(steps)} steps: {len(steps)} identical")
