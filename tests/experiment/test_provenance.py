import json
import subprocess
import sys

import pytest

import mmkit
from mmkit.experiment import provenance as module
from mmkit.experiment.provenance import code_state, packages, provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-c", "core.autocrlf=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    git(tmp_path, "init")
    (tmp_path / "parts.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_code_is_told_exactly(project):
    clean = code_state(project, [])
    assert (clean["dirty"], clean["diff"], clean["untracked"], clean["branch"]) == (False, "", [], "main")
    assert len(clean["revision"]) == 40
    (project / "parts.py").write_text("a = 2\n")
    (project / "new.py").write_text("b = 1\n")
    (project / "folder").mkdir()
    state = code_state(project / "folder", [])
    assert (state["root"], state["revision"], state["dirty"]) == (str(project), clean["revision"], True)
    assert state["untracked"] == ["new.py"]
    assert "-a = 1\n+a = 2" in state["diff"]


def test_a_folder_outside_of_git_or_without_git_is_fine(tmp_path, monkeypatch):
    assert code_state(tmp_path, []) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_state(tmp_path, []) is None
    monkeypatch.chdir(tmp_path)
    assert provenance({})["code"]["project"] is None


def test_a_repository_without_a_commit_is_fine(tmp_path):
    git(tmp_path, "init")
    state = code_state(tmp_path, [])
    assert (state["revision"], state["diff"]) == (None, "")


def test_a_long_diff_is_cut_between_lines(project, monkeypatch):
    monkeypatch.setattr(module, "DIFF_LENGTH", 500)
    (project / "parts.py").write_text("".join(f"password = 'swordfish-{number}-in-a-long-line'\n" for number in range(100)))
    diff = code_state(project, [])["diff"]
    assert len(diff) < 600
    assert diff.endswith(" more characters")
    assert "swordfish" not in diff


def test_machine_versions_and_data_are_told(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("UNRELATED", "34")
    facts = provenance({"train": "sha256:00ff"})
    assert json.loads(json.dumps(facts)) == facts
    assert facts["data"] == {"train": "sha256:00ff"}
    assert facts["mmkit"] == mmkit.__version__
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["environment"]["SLURM_JOB_ID"] == "12"
    assert "UNRELATED" not in facts["environment"]
    assert facts["packages"] == packages()
    assert facts["packages"]["torch"].startswith("2.")
    assert facts["packages"]["safetensors"] != "***"


def test_no_planted_secret_survives_anywhere(project, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "swordfish-by-value")
    monkeypatch.setenv("SLURM_JWT", "swordfish-jwt")
    monkeypatch.setenv("MMKIT_URL", "https://me:swordfish-url@host/x")
    monkeypatch.setattr(
        sys, "argv", ["/bin/mmkit_run", "a.password=swordfish-argument", "--token", "swordfish-option", "x=swordfish-by-value"]
    )
    (project / "parts.py").write_text("API_KEY = 'swordfish-code'\nplain = 'swordfish-by-value'\nkey = 'hf_" + "a1B2" * 9 + "'\n")
    git(project, "checkout", "-b", "swordfish-by-value")
    text = json.dumps(provenance({"train": "https://me:swordfish-data@host"}))
    assert "swordfish" not in text
    assert "a1B2" not in text
    assert "mmkit_run" in text
    assert "key = '***'" in text
