"""``mmkit runs`` on directories as runs leave them."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from mmkit.cli import main
from mmkit.cli.runs.record import Run
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, Retention
from mmkit.experiment.run_lock import RunLock
from tests.cli.terminal import run_in_terminal


MMKIT = Path(sys.executable).with_name("mmkit")
ORIGIN = {
    "command": ["mmkit_run", "hydra.searchpath=[pkg://away.configs]", "experiment=first"],
    "host": "here",
    "python": "3.11.7",
    "mmkit": "0.1.0",
    "environment": {"OMP_NUM_THREADS": "1", "MMKIT_VERSION": "a"},
    "code": {"project": None, "mmkit": {"revision": "0123456789abcdef", "branch": "main", "dirty": False}},
    "data": {"train": {"vectors": {"class": "my.Vectors", "length": 24, "config": "f00d"}}},
    "packages": {"torch": "2.13.0", "numpy": "2.3"},
}


def make_run(path, status="finished", minutes=0, loss=0.5, steps=(1, 2), origin=ORIGIN, overrides=("+experiment=first",), **more):
    """A directory as a run leaves it: two checkpoints, of which the first is the better one."""
    start = datetime(2026, 1, 2, 3, 4, tzinfo=UTC) + timedelta(minutes=minutes)
    attempt = {"start": start.isoformat(), "host": "here", "pid": 1, "from_step": 0, "overrides": list(overrides)}
    if status != "running":
        attempt |= {"end": (start + timedelta(seconds=90)).isoformat(), "status": status}
    path.mkdir(parents=True)
    record = {"name": path.parent.name, "version": path.name, "status": status, "attempts": [attempt], **more}
    (path / "run.json").write_text(json.dumps(record))
    (path / "config.yaml").write_text(f"task:\n  lr: {loss}\n  sizes: [1, 2]\nseed: null\n")
    (path / "provenance.json").write_text(json.dumps(origin))
    lines = [{"step": step, "time": 0, "epoch": 0, "val/loss": loss * step, "train/step_time_ms": 3.0} for step in steps]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9')
    io = DirectoryCheckpointIO("", asynchronous=False, retention=Retention(save_top_k=-1))
    for step in steps:
        state = {"step": step, "epoch": 1, "score": loss * step, "monitor": "val/loss"}
        io.save_checkpoint({"state_dict": {"w": torch.ones(1)}, "mmkit_state": state}, path / "checkpoints" / f"step-{step:06d}")
    return path


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Three runs, two of them of one experiment."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "outputs" / "first" / "a")
    make_run(
        tmp_path / "outputs" / "first" / "b", "failed", minutes=5, loss=0.25, overrides=("+experiment=first", "task.lr=0.25")
    )
    make_run(tmp_path / "outputs" / "second" / "c", "running", minutes=9)
    return tmp_path / "outputs"


@pytest.fixture
def runs(capsys):
    """Run ``mmkit runs`` and return exit code, output and errors."""

    def runs(*arguments):
        code = main.run(["runs", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return runs


# ls


def test_ls_shows_the_newest_first_with_state_step_best_metric_and_duration(outputs, runs):
    code, out, _ = runs("ls")
    rows = [line.split("  ") for line in out.splitlines()]
    assert code == 0
    assert [row[0].strip() for row in rows[1:4]] == ["second/c", "first/b", "first/a"]
    assert [out.splitlines()[number].split()[1] for number in (1, 2, 3)] == ["killed", "failed", "finished"]
    assert out.splitlines()[3].split()[2:8] == ["2", "val/loss", "0.5", "1", "min", "30"]
    assert "mmkit runs resume DIR" in out


@pytest.mark.parametrize(
    ("arguments", "versions"),
    [
        (["--state", "failed"], ["b"]),
        (["--state", "failed", "--state", "killed"], ["c", "b"]),
        (["--name", "first"], ["b", "a"]),
        (["-n", "1"], ["c"]),
        (["outputs/first"], ["b", "a"]),
        (["--name", "nothing"], []),
    ],
)
def test_ls_takes_filters_and_prints_json(outputs, runs, arguments, versions):
    code, out, _ = runs("ls", *arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert [run["version"] for run in found] == versions
    assert all({"path", "step", "epoch", "metric", "seconds", "started", "resumable"} <= set(run) for run in found)


def test_a_run_with_a_living_process_is_running_and_not_resumable(outputs, runs):
    lock = RunLock(outputs / "second" / "c")
    try:
        run = Run.read(outputs / "second" / "c")
        assert (run.state, run.is_resumable) == ("running", False)
        assert f"running, process {os.getpid()} on" in runs("show", "c")[1]
    finally:
        lock.release()


def test_damaged_and_other_directories_are_left_out(outputs, runs):
    (outputs / "first" / "broken").mkdir()
    (outputs / "first" / "broken" / "run.json").write_text("{")
    (outputs / "first" / "a" / "provenance.json").unlink()
    (outputs / "first" / "a" / "metrics.jsonl").unlink()
    assert [run["version"] for run in json.loads(runs("ls", "--json")[1])] == ["c", "b", "a"]
    assert runs("show", "first/a")[0] == 0


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
def test_ls_takes_a_number_that_shows_something(outputs, runs, capsys, number):
    with pytest.raises(SystemExit) as ended:
        runs("ls", "-n", number)
    assert ended.value.code == 2
    assert f"argument -n: '{number}' is given; a whole number from 1 on is needed." in capsys.readouterr().err


_STATE = {"revision": 1, "dirty": True, "untracked": 3, "diff": None}
NOTHING = {
    "null": dict.fromkeys(ORIGIN),
    "text": dict.fromkeys(ORIGIN, "text"),
    "numbers": dict.fromkeys(ORIGIN, 3),
    "lists of null": {key: [None] for key in ORIGIN},
    "objects of null": {key: {"a": None} for key in ORIGIN},
    "null inside": {**ORIGIN, "code": {"project": _STATE, "mmkit": None}, "data": {"train": {"a": None}, "val": None}},
    "no object": [],
}


@pytest.mark.parametrize("origin", NOTHING.values(), ids=list(NOTHING))
@pytest.mark.parametrize("attempts", [None, 3, [None], [{}], [{"overrides": None, "start": None, "status": None, "reason": 1}]])
def test_records_that_hold_something_else_than_they_should_are_read_as_far_as_they_go(outputs, runs, origin, attempts):
    path = make_run(outputs / "odd" / "d", origin=origin, attempts=attempts, import_roots=None, name=None, job_type=None)
    for command in ("show", "compare"):
        for more in ([], ["--json"]):
            code, out, err = runs(command, *([path] if command == "show" else [path, outputs / "first" / "a"]), *more)
            assert (code, err) == (0, "")
            assert "outputs/odd/d" in out
    assert runs("ls", "--name", "odd")[0] == 0
    assert runs("rm", path, "--yes")[0] == 0
    assert not path.exists()


def test_ls_of_no_folder_ends_with_3(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    code, _, err = runs("ls")
    assert (code, "outputs: there is no such folder" in err) == (3, True)


# show


def test_show_tells_what_it_was_and_what_to_type_next(outputs, runs):
    code, out, _ = runs("show", outputs / "first" / "a")
    assert code == 0
    for text in ("finished, step 2", "0123456789 (main)", "torch 2.13.0", "vectors (Vectors, 24 examples)", "best", "latest"):
        assert text in out
    checkpoint = "resume_from_checkpoint=outputs/first/a/checkpoints/step-000001"
    assert f"mmkit_run 'hydra.searchpath=[pkg://away.configs]' +experiment=first job_type=eval {checkpoint}\n" in out
    assert "mmkit runs resume outputs/first/b\n" in runs("show", "first/b")[1]


def test_show_without_a_name_shows_the_newest_and_prints_json(outputs, runs):
    facts = json.loads(runs("show", "--json")[1])
    assert (facts["version"], facts["state"]) == ("c", "killed")
    assert facts["metrics"] == {"train/step_time_ms": 3.0, "val/loss": 1.0}
    assert [info["is_best"] for info in facts["checkpoints"]] == [False, True]
    assert facts["provenance"]["python"] == "3.11.7"


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("first", 2, "first could be any of 2 runs. Give more of its name:\n  outputs/first/b\n  outputs/first/a"),
        ("nothing", 3, "nothing: there is no such run."),
        ("outputs", 2, "outputs could be any of 3 runs"),
    ],
)
def test_a_name_that_is_not_one_run_is_refused(outputs, runs, name, code, says):
    found, _, err = runs("show", name)
    assert found == code
    assert says in err


def test_something_inside_of_a_run_names_it(outputs, runs):
    assert "outputs/first/a\n" in runs("show", outputs / "first" / "a" / "checkpoints" / "step-000001")[1]


# compare


def test_compare_shows_what_differs_and_leaves_out_what_is_equal(outputs, runs):
    dirty = {"dirty": True, "diff": "diff --git a/x b/x\n+1", "untracked": ["y"]}
    code = {"mmkit": ORIGIN["code"]["mmkit"] | dirty}
    other = {**ORIGIN, "packages": {"torch": "2.14.0", "numpy": "2.3"}, "data": {}, "code": code}
    (outputs / "first" / "b" / "provenance.json").write_text(json.dumps(other))
    code, out, _ = runs("compare", "first/a", "first/b")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    for row in (["task.lr", "0.5", "0.25"], ["torch", "2.13.0", "2.14.0"], ["val/loss", "1", "0.5"], ["task.lr", "—", "0.25"]):
        assert row in rows
    assert "0123456789 (main, with uncommitted changes)" in out
    assert "1 files changed, 1 new" in out
    assert "train.vectors.config" in out
    assert "sizes" not in out
    assert "numpy" not in out
    assert out.endswith("The same: machine.\n")


def test_compare_prints_json_of_three(outputs, runs):
    found = json.loads(runs("compare", "first/a", "first/b", "second/c", "--json")[1])
    assert len(found["runs"]) == 3
    assert found["differences"]["configuration"] == {"task.lr": [0.5, 0.25, 0.5]}
    assert found["differences"]["versions"] == {}


def test_one_run_cannot_be_compared(outputs, runs):
    assert runs("compare", "first/a")[0] == 2


# rm


def test_rm_deletes_a_run_and_nothing_that_it_links_to(outputs, runs, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (outputs / "first" / "a" / "link").symlink_to(tmp_path / "precious")
    code, out, _ = runs("rm", "first/a", "first/b", "--yes")
    assert (code, out) == (0, "deleted outputs/first/a\ndeleted outputs/first/b\n")
    assert list((outputs / "first").iterdir()) == []
    assert (tmp_path / "precious" / "file").exists()


def test_rm_refuses_a_running_one_and_then_deletes_none(outputs, runs):
    lock = RunLock(outputs / "second" / "c")
    try:
        code, _, err = runs("rm", "first/a", "second/c", "--yes")
    finally:
        lock.release()
    assert code == 2
    assert f"outputs/second/c is running: process {os.getpid()} on" in err
    assert (outputs / "first" / "a").is_dir()


def test_rm_refuses_what_is_more_than_a_run_and_what_is_none(outputs, runs, tmp_path, monkeypatch):
    (outputs / "first" / "a" / ".git").mkdir()
    make_run(outputs / "first" / "b" / "inner")
    linked = outputs / "linked"
    linked.symlink_to(outputs / "second" / "c")
    for name, says in [("first/a", "a git checkout"), ("first/b", "holds more than a run"), (linked, "is a link")]:
        code, _, err = runs("rm", name, "--yes")
        assert (code, says in err) == (2, True), err
    (tmp_path / "plain").mkdir()
    assert runs("rm", tmp_path / "plain", "--yes")[0] == 3
    monkeypatch.chdir(outputs / "second" / "c")
    code, _, err = runs("rm", ".", "--yes")
    assert (code, "holds more than a run" in err) == (2, True)


def test_rm_does_not_delete_the_code_of_a_project(outputs, runs):
    run = make_run(outputs / "third" / "d", import_roots=[str(outputs / "third" / "d" / "code")])
    (run / "code").mkdir()
    assert runs("rm", run, "--yes")[0] == 2


def test_rm_without_a_terminal_wants_yes(outputs, runs):
    code, _, err = runs("rm", "first/a")
    assert (code, "Give --yes" in err) == (2, True)


# In a terminal


def test_rm_asks_in_a_terminal(outputs, tmp_path):
    no = run_in_terminal([MMKIT, "runs", "rm", "first/a"], tmp_path, typed={"[y/N]": "n\n"})
    assert (no.code, "Nothing was deleted." in no.screen) == (0, True)
    assert (outputs / "first" / "a").is_dir()
    yes = run_in_terminal([MMKIT, "runs", "rm", "first/a"], tmp_path, typed={"[y/N]": "y\n"})
    assert (yes.code, "deleted outputs/first/a" in yes.screen) == (0, True)
    assert not (outputs / "first" / "a").exists()


def test_a_terminal_of_80_columns_gets_bold_headers_and_whole_names(tmp_path):
    name = "emoji_clip/2026-11-21_17-27-37-5330"
    make_run(tmp_path / "outputs" / name)
    shown = run_in_terminal([MMKIT, "runs", "ls"], tmp_path)
    assert "\x1b[1mrun" in shown.raw
    assert [line.split()[0] for line in shown.screen.splitlines()] == ["run", name]
    colours = re.compile(r"\x1b\[[\d;]*[349]\d")
    assert not colours.search(run_in_terminal([MMKIT, "runs", "ls"], tmp_path, {"NO_COLOR": "1"}).raw)


def test_other_encodings_get_a_replacement(outputs):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [MMKIT, "runs", "compare", "first/a", "first/b"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, b"task.lr    ?  0.25" in done.stdout) == (0, True), done.stdout + done.stderr


def test_nothing_heavy_is_imported(outputs):
    code = (
        "import sys; from mmkit.cli.main import run\n"
        "for typed in (['ls'], ['show', 'first/a'], ['compare', 'first/a', 'first/b'], ['rm', 'first/a', '--yes']):\n"
        "    assert run(['runs', *typed]) == 0\n"
        "print(*sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"torch", "lightning", "hydra", "hydra_zen", "omegaconf", "transformers", "timm", "wandb", "numpy"}
    assert not heavy & set(output.splitlines()[-1].split())
