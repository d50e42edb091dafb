import json
import os
import sys
from pathlib import Path

import pytest
import torch

from mmkit.cli import main
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, Retention
from mmkit.experiment.checkpoint.manifest import decode, encode
from tests.cli.terminal import run_in_terminal


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """A run with the checkpoints of steps 1 to 3."""
    monkeypatch.setenv("COLUMNS", "120")
    io = DirectoryCheckpointIO("lr: 0.1\n", asynchronous=False, retention=Retention(save_top_k=-1))
    for step in (1, 2, 3):
        weights = {"task.weight": torch.full((2, 3), float(step)), "task.tied [/x]": torch.zeros(1)}
        state = {"step": step, "epoch": step // 2, "score": 1 / step, "monitor": "val/loss"}
        path = tmp_path / "run" / "checkpoints" / f"step-{step:06d}"
        io.save_checkpoint({"state_dict": weights, "mmkit_state": state, "lr": [0.1]}, path)
    return tmp_path / "run"


@pytest.fixture
def ckpt(capsys):
    """Run ``mmkit ckpt`` and return exit code, output and errors."""

    def ckpt(*arguments):
        code = main.run(["ckpt", *map(str, arguments)])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return ckpt


def _damage(run_dir):
    path = run_dir / "checkpoints" / "step-000002" / "trainer.pt"
    data = path.read_bytes()
    path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])


@pytest.mark.parametrize("given", ["run", "run/checkpoints"])
def test_list_shows_a_table(run_dir, ckpt, tmp_path, given):
    _damage(run_dir)
    code, out, _ = ckpt("list", tmp_path / given)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["checkpoint", "step", "epoch", "val/loss", "size", "age", "good?"]
    assert lines[1][:4] + lines[1][-1:] == ["step-000003", "(latest)", "3", "1", "yes"]
    assert lines[2][:4] == ["step-000002", "2", "1", "0.5"]
    assert "NO: trainer.pt is damaged" in out


def test_list_prints_json(run_dir, ckpt):
    _damage(run_dir)
    thorough, quick = (json.loads(ckpt("list", run_dir, "--json", *more)[1]) for more in ([], ["--quick"]))
    assert [info["step"] for info in thorough] == [3, 2, 1]
    assert [info["good"] for info in thorough] == [True, False, True]
    assert [info["good"] for info in quick] == [True, True, True]
    assert thorough[0]["path"] == str(run_dir / "checkpoints" / "step-000003")


def test_list_says_where_there_is_nothing(tmp_path, ckpt, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ckpt("list") == (0, f"There is no checkpoint in {tmp_path}.\n", "")
    assert json.loads(ckpt("list", "--json")[1]) == []


def test_verify_goes_through_a_run_and_exits_with_3_if_one_is_damaged(run_dir, ckpt):
    code, out, err = ckpt("verify", run_dir)
    assert (code, out.count(": good\n"), err) == (0, 3, "")
    _damage(run_dir)
    code, out, err = ckpt("verify", run_dir)
    assert (code, out.count(": good\n")) == (3, 2)
    assert "step-000002: trainer.pt is damaged: it does not have the digest" in out
    assert err == f"mmkit: 1 of 3 is not good: {run_dir}/checkpoints/step-000002\n"


def test_verify_prints_json(run_dir, ckpt):
    _damage(run_dir)
    code, out, _ = ckpt("verify", run_dir, "--json")
    assert code == 3
    assert [entry["good"] for entry in json.loads(out)] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "says"),
    [("nothing", "there is no such directory"), ("empty", "it has no manifest.json"), ("file", "it is not a directory")],
)
def test_verify_refuses_what_is_no_checkpoint(tmp_path, ckpt, name, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    code, out, err = ckpt("verify", tmp_path / name)
    assert code == 3
    assert says in out + err


def test_verify_names_a_later_format(run_dir, ckpt):
    manifest = run_dir / "checkpoints" / "step-000001" / "manifest.json"
    assert encode(decode(manifest.read_bytes())) == manifest.read_bytes()
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 7'))
    code, out, _ = ckpt("verify", run_dir / "checkpoints" / "step-000001")
    assert code == 3
    assert "it has format version 7, and this mmkit reads up to 1" in out


def test_diff_names_tensors_state_and_configuration(run_dir, ckpt):
    checkpoints = run_dir / "checkpoints"
    code, out, _ = ckpt("diff", checkpoints / "step-000001", run_dir)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["state_dict.task.weight", "float32", "2×3", "the", "same", "2"] in rows
    assert ["mmkit_state.step", "1", "3"] in rows
    assert out.endswith("4 of 7 tensors and values differ, and 0 of the configuration.\n")


def test_diff_of_the_same_says_so(run_dir, ckpt):
    code, out, _ = ckpt("diff", run_dir, run_dir)
    assert (code, out) == (0, "Identical: 7 tensors and values, and the configuration.\n")


def test_diff_prints_json(run_dir, ckpt):
    checkpoints = run_dir / "checkpoints"
    found = json.loads(ckpt("diff", checkpoints / "step-000001", run_dir, "--json")[1])
    assert [(each["name"], each["max_abs"]) for each in found["tensors"]] == [("state_dict.task.weight", 2.0)]
    assert {"name": "mmkit_state.step", "values": ["1", "3"]} in found["state"]
    assert (found["config"], found["num_compared"]) == ([], 7)


def test_diff_reads_files_of_lightning(run_dir, ckpt, tmp_path):
    torch.save(DirectoryCheckpointIO().load_checkpoint(run_dir / "checkpoints" / "step-000003"), tmp_path / "last.ckpt")
    assert "Identical" not in ckpt("diff", run_dir, tmp_path / "last.ckpt")[1]  # a file has no configuration
    assert ckpt("diff", tmp_path / "last.ckpt", tmp_path / "last.ckpt")[1].startswith("Identical")


def test_weights_are_exported_and_imported(run_dir, ckpt, tmp_path):
    file, new = tmp_path / "w.safetensors", tmp_path / "new"
    code, out, _ = ckpt("export", run_dir, file, "--prefix", "task.")
    assert (code, out) == (0, f"{file}: 2 tensors of {run_dir}/checkpoints/step-000003\n")
    code, out, _ = ckpt("import", run_dir / "checkpoints" / "step-000003", file, new, "--prefix", "task.")
    assert (code, out) == (0, f"{new}: {run_dir}/checkpoints/step-000003 with 2 tensors of {file}\n")
    assert ckpt("diff", run_dir, new)[1].startswith("Identical")


def test_mistakes_are_told_in_a_line(run_dir, ckpt, tmp_path):
    (tmp_path / "text.safetensors").write_text("text")
    for arguments, code, says in [
        (["export", run_dir, tmp_path / "missing" / "w"], 1, "cannot be written: No such file or directory"),
        (["export", run_dir, tmp_path / "w", "--prefix", "x."], 2, "no weight of"),
        (["export", tmp_path / "missing", tmp_path / "w"], 3, "there is no such directory"),
        (["import", run_dir, tmp_path / "text.safetensors", tmp_path / "new"], 3, "is not a readable safetensors file"),
        (["import", run_dir, tmp_path / "w", run_dir], 2, "exists already"),
        (["diff", run_dir, tmp_path], 3, "it is not a checkpoint"),
        (["diff", run_dir, tmp_path / "text.safetensors"], 3, "text.safetensors: it is damaged"),
        (["list", tmp_path / "missing"], 3, "there is no such directory"),
    ]:
        found, _, err = ckpt(*arguments)
        assert (found, says in err, err.startswith("mmkit: ")) == (code, True, True), (arguments, err)


def test_listing_does_not_change_a_directory(run_dir, ckpt):
    left = run_dir / "checkpoints" / ".writing~00000000~00000000~1~1~abc"
    left.mkdir()
    os.utime(left, (0, 0))
    ckpt("list", run_dir)
    ckpt("verify", run_dir)
    assert left.is_dir()


def test_a_terminal_shows_tables_in_80_columns(run_dir, tmp_path):
    mmkit = Path(sys.executable).with_name("mmkit")
    listed = run_in_terminal([mmkit, "ckpt", "list", "run"], tmp_path)
    assert (listed.code, "\x1b[1mcheckpoint" in listed.raw) == (0, True)
    assert [line.split()[0] for line in listed.screen.splitlines()] == ["checkpoint", "step-000003", "step-000002", "step-000001"]
    verified = run_in_terminal([mmkit, "ckpt", "verify", "run"], tmp_path)
    assert (verified.code, verified.screen.count(": good")) == (0, 3)
    inspected = run_in_terminal([mmkit, "inspect", "run/checkpoints/step-000001"], tmp_path)
    assert (inspected.code, "\x1b[1mmembers" in inspected.raw, "step: 1" in inspected.screen) == (0, True, True)
