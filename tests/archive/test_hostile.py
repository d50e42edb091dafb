import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmkit.cli.main import run
from mmkit.errors import RefusedError
from mmkit.tasks.base import TrainingTask
from tests.archive.crafting import archive
from tests.archive.hostile import hostile_files


HOSTILE = hostile_files()
SCRIPT = Path(__file__).with_name("hostile_process.py")


def test_the_file_that_all_others_are_made_from_is_restored(tmp_path):
    (tmp_path / "good.mmkit").write_bytes(archive())
    assert TrainingTask.restore_from(tmp_path / "good.mmkit").model.modalities == ["rgb", "text"]


def test_no_name_stands_for_two_files():
    assert len({hostile.name for hostile in HOSTILE}) == len(HOSTILE) >= 200


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_hostile_file_is_refused_with_a_reason(hostile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # payloads create the file $CANARY, here
    monkeypatch.setenv("CANARY", "canary")
    path = tmp_path / "hostile.mmkit"
    path.write_bytes(hostile.data)
    modules = set(sys.modules)
    with pytest.raises(RefusedError) as refusal:
        TrainingTask.restore_from(path)
    assert refusal.value.exit_code == 3
    assert str(refusal.value).startswith(f"{path}: ")
    assert hostile.reason in str(refusal.value)
    assert os.listdir(tmp_path) == ["hostile.mmkit"]
    imported = {name.partition(".")[0] for name in set(sys.modules) - modules}
    assert not imported & {"antigravity", "turtle", "this", "pdb", "webbrowser", "runpy", "no_such_package"}


# What is refused without a look at the registry, the weights or the artifacts' insides, `mmkit inspect` refuses as well.
INSPECTED = [hostile for hostile in HOSTILE if hostile.name.startswith(("key:", "yaml:", "path:", "tar:", "manifest:"))]


@pytest.mark.parametrize("hostile", INSPECTED, ids=lambda hostile: hostile.name)
def test_inspect_ends_with_3(hostile, tmp_path, capsys):
    path = tmp_path / "hostile.mmkit"
    path.write_bytes(hostile.data)
    assert run(["inspect", str(path)]) == 3
    assert capsys.readouterr().err.startswith(f"mmkit: {path}: ")


@pytest.mark.slow
def test_nothing_is_imported_written_or_started(tmp_path):
    """In a process of its own, whose every import, opening for writing, removal, connection and new process is recorded."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "CANARY": str(tmp_path / "canary"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=Path.cwd()).stdout
    result = json.loads(output.splitlines()[-1])
    print(f"{result['tried']} tried, {result['refused']} refused")
    held = {"tried": len(HOSTILE), "refused": len(HOSTILE), "events": [], "imported": [], "left": [], "noticed": 5}
    assert result == held
