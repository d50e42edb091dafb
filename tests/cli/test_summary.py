import json

import pytest

from mmkit.cli.failure import report
from mmkit.cli.summary import print_summary
from mmkit.errors import StoppedError
from mmkit.experiment.run import Outcome


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "outputs" / "first" / "a"
    checkpoint = directory / "checkpoints" / "step-000002"
    checkpoint.mkdir(parents=True)
    attempt = {"start": "2026-01-02T03:04:05+00:00", "overrides": ["+experiment=first", "exp_manager.version=a", "task.lr=0.1"]}
    (directory / "run.json").write_text(json.dumps({"status": "stopped", "attempts": [attempt]}))
    return directory


@pytest.fixture
def checkpoint(run_dir):
    import torch

    from mmkit.experiment.checkpoint import DirectoryCheckpointIO

    path = run_dir / "checkpoints" / "step-000003"
    io = DirectoryCheckpointIO("", asynchronous=False)
    io.save_checkpoint({"state_dict": {"w": torch.ones(1)}, "mmkit_state": {"step": 3, "epoch": 1}}, path)
    return path


def test_summary_tells_metrics_places_and_what_to_type_next(run_dir, checkpoint, capsys):
    (run_dir / "report.html").touch()
    for number in range(7):
        (run_dir / f"{number}.png").touch()
    print_summary(Outcome({"val/loss": 0.5, "test/accuracy": 0.25}, checkpoint=str(checkpoint)), run_dir)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "metric         value",
        "test/accuracy   0.25",
        "val/loss         0.5",
        "Run directory  outputs/first/a",
        "Checkpoint     outputs/first/a/checkpoints/step-000003",
        "Report         outputs/first/a/report.html",
        *(f"Picture        outputs/first/a/{number}.png" for number in range(5)),
        "               and 2 more",
        "Details        mmkit runs show outputs/first/a",
        "Evaluate       mmkit_run +experiment=first task.lr=0.1 job_type=eval "
        "resume_from_checkpoint=outputs/first/a/checkpoints/step-000003",
    ]


def test_after_a_stop_the_command_that_goes_on_is_told(run_dir, checkpoint, capsys):
    report(StoppedError("Stopped by SIGTERM; saved.", "SIGTERM"), run_dir)
    assert capsys.readouterr().err.splitlines() == [
        "mmkit_run: Stopped by SIGTERM; saved.",
        "To go on with it: mmkit runs resume outputs/first/a",
    ]


def test_without_a_checkpoint_nothing_of_the_kind_is_told(run_dir, capsys):
    (run_dir / "checkpoints" / "step-000002").rmdir()
    report(StoppedError("Stopped."), run_dir)
    print_summary(Outcome({}), run_dir)
    printed = capsys.readouterr()
    assert "go on" not in printed.err
    assert "Evaluate" not in printed.out
