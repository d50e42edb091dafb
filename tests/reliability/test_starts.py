"""One run, one directory: of many starts one wins, nothing is overwritten, and what is written down holds no secret."""

import os
import select
import time

import pytest
import yaml

from mmkit.errors import UsageError
from mmkit.experiment.run import run
from mmkit.experiment.run_dir import read_record
from tests.reliability.exact_run import composed, free_port, in_child, kill, latest, logged, on_two_ranks, train, wait_for
from tests.reliability.trouble import SendSignals, planted


STARTS = 20
SECRET = "hf_pLaNtEdSeCrEtOfThIsTeSt0123456789"
TWO_STEPS = ("trainer.max_steps=2", "exp_manager.checkpoint_callback_params.every_n_train_steps=1")


@pytest.mark.parametrize("resume", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_of_twenty_simultaneous_starts_one_wins(resume, project, tmp_path):
    run_dir = tmp_path / "run"
    cfg = composed(
        project, run_dir, *TWO_STEPS, *planted(SendSignals, names="[]", batch=2, wait=3), f"exp_manager.resume_if_exists={resume}"
    )
    ready, go = os.pipe()

    def start():
        select.select([ready], [], [])
        run(cfg, run_dir)

    children = [in_child(start, tmp_path / f"{number}.log") for number in range(STARTS)]
    os.write(go, b"go")
    codes = wait_for(*children)
    assert sorted(codes) == [0] + [2] * (STARTS - 1)
    winner = children[codes.index(0)]
    refusals = [(tmp_path / f"{number}.log").read_text() for number in range(STARTS) if codes[number]]
    assert all(f"{run_dir} is in use by process {winner}" in text for text in refusals), refusals
    assert no_trace_but_of(winner, run_dir)


def no_trace_but_of(winner, run_dir):
    record = read_record(run_dir)
    assert [attempt["pid"] for attempt in record["attempts"]] == [winner]
    assert record["status"] == "finished"
    assert sorted(path.name for path in run_dir.iterdir() if path.name != ".run.lock.guard") == [  # empty; see RunLock
        "checkpoints", "config.yaml", "exact.mmkit", "logs", "metrics.jsonl", "overrides.yaml", "provenance.json", "run.json",
    ]  # fmt: skip
    assert [path.name for path in (run_dir / "logs").iterdir()] == ["rank-0.log"]
    return True


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_finished_run_is_left_alone_unless_it_is_to_go_on(project, tmp_path):
    run_dir = train(project, tmp_path / "run", *TWO_STEPS)
    before = contents(run_dir)
    with pytest.raises(
        UsageError, match=r"is finished, at step 2\. To train on, raise trainer\.max_epochs .*resume_past_end=true"
    ):
        train(project, run_dir, "trainer.max_steps=4")
    with pytest.raises(UsageError, match=r"holds a run \(finished\)\. Go on with it \(mmkit runs resume .*\), or choose"):
        train(project, run_dir, "exp_manager.resume_if_exists=false")
    assert contents(run_dir) == before
    train(project, run_dir, "trainer.max_steps=4", "exp_manager.resume_past_end=true")
    assert latest(run_dir) == 4
    attempts = read_record(run_dir)["attempts"]
    assert [(attempt["from_step"], attempt["status"]) for attempt in attempts] == [(0, "finished"), (2, "finished")]
    assert all(attempt["start"] < attempt["end"] for attempt in attempts)
    assert (run_dir / "provenance-1.json").exists()


def test_lock_of_a_killed_run_is_taken_over(project, tmp_path):
    run_dir = tmp_path / "run"
    child = in_child(lambda: train(project, run_dir, *TWO_STEPS, *planted(SendSignals, names="[]", batch=3, wait=60)))
    while latest(run_dir) < 1:
        time.sleep(0.02)
    with pytest.raises(UsageError, match=f"is in use by process {child} on "):
        train(project, run_dir, *TWO_STEPS)
    kill(child)
    assert (run_dir / "run.lock").exists()
    train(project, run_dir, *TWO_STEPS)
    record = read_record(run_dir)
    assert record["status"] == "finished"
    assert [(attempt["pid"], attempt.get("status")) for attempt in record["attempts"]] == [
        (child, "killed"),
        (os.getpid(), "finished"),
    ]
    assert not (run_dir / "run.lock").exists()


def test_failure_is_written_down_and_gives_the_directory_free(project, tmp_path):
    run_dir = tmp_path / "run"
    with pytest.raises(ValueError, match="Invalid learning rate"):
        train(project, run_dir, *TWO_STEPS, "task.optimizer.lr=-1")
    record = read_record(run_dir)
    assert (record["status"], record["attempts"][0]["status"]) == ("failed", "failed")
    assert not (run_dir / "run.lock").exists()
    with pytest.raises(UsageError, match=r"files_to_copy: there is no missing\.txt"):
        train(project, run_dir, *TWO_STEPS, "exp_manager.files_to_copy=[missing.txt]")
    assert [attempt["status"] for attempt in read_record(run_dir)["attempts"]] == ["failed", "failed"]
    train(project, run_dir, *TWO_STEPS)
    assert read_record(run_dir)["status"] == "finished"


def test_no_secret_is_written_anywhere(project, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", SECRET)
    run_dir = tmp_path / "run"
    overrides = [
        f"+exp_manager.wandb_logger_kwargs.api_key={SECRET}",
        "+exp_manager.mlflow_logger_kwargs.note=${oc.env:PLANTED_TOKEN}",
        f"tags=[plain,'https://me:{SECRET}@example.org/x',{SECRET}]",
    ]
    run(composed(project, run_dir, *TWO_STEPS, *overrides), run_dir, overrides)
    assert [path for path, content in contents(run_dir).items() if SECRET.encode() in content] == []
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert config["exp_manager"]["mlflow_logger_kwargs"]["note"] == "${oc.env:PLANTED_TOKEN}"
    assert config["tags"][0] == "plain"
    assert len(yaml.safe_load((run_dir / "overrides.yaml").read_text())) == 3


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
def test_ranks_share_a_directory_with_a_log_file_each(project, tmp_path):
    run_dir = tmp_path / "run"
    settings = (*TWO_STEPS, "trainer.strategy=ddp", "trainer.devices=2", "dataloader.train.batch_size=2")
    output = tmp_path / "run.log"
    assert wait_for(*on_two_ranks(lambda: train(project, run_dir, *settings), free_port(), output)) == [0, 0], output.read_text()
    assert sorted(path.name for path in (run_dir / "logs").iterdir()) == ["rank-0.log", "rank-1.log"]
    assert len(read_record(run_dir)["attempts"]) == 1
    assert [line["step"] for line in logged(run_dir)].count(2) == 1
