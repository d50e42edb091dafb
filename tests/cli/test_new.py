"""``mmkit new``: what it writes runs, reads well and passes its own test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmkit.cli.main import run
from mmkit.cli.new import write_project


ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["new", "demo"]) == 0
    return tmp_path / "demo"


def test_it_prints_what_was_written_and_what_to_type_next(folder, capsys):
    assert run(["new", "away/other"]) == 0
    out = capsys.readouterr().out
    assert "away/other/configs/experiment/first.yaml" in out
    assert out.rstrip().splitlines()[-3].split() == ["cd", "away/other"]


def test_the_files_of_a_project_are_there_under_its_name(folder):
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    wanted = {
        "README.md",
        "configs/__init__.py",
        "configs/experiment/first.yaml",
        "dataset.py",
        "encoder.py",
        "tests/test_demo.py",
    }
    assert files == wanted | {"__init__.py", "tests/__init__.py"}
    assert not any("my_project" in path.read_text() for path in folder.rglob("*") if path.is_file())


def test_the_code_passes_ruff_as_it_is_without_settings(folder):
    pytest.importorskip("ruff", reason="ruff is among the linters, which make test does not install")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "--isolated", str(folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "reason", "suggestion"),
    [
        pytest.param("my-lab", "may hold letters, digits and underscores", "my_lab", id="no-identifier"),
        pytest.param("3d", "begins with no digit", "project_3d", id="digit"),
        pytest.param("class", "a word of Python's grammar", "class_project", id="keyword"),
        pytest.param("json", "a module of Python's standard library is called so", "json_project", id="standard-library"),
        pytest.param("torch", "a module that is installed here is called so", "torch_project", id="installed"),
        pytest.param("configs", "mmkit looks for projects in folders", "configs_project", id="configs"),
    ],
)
def test_a_bad_name_is_refused_with_a_reason_and_a_better_one(tmp_path, monkeypatch, capsys, name, reason, suggestion):
    monkeypatch.chdir(tmp_path)
    assert run(["new", name]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.rstrip().endswith(f"Try: mmkit new {suggestion}")
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_refused_and_left_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert run(["new", "demo"]) == 2
    assert "demo is there already, and is left as it is." in capsys.readouterr().err
    assert not list(Path("demo").iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert run(["new", "file/demo"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_the_written_test_passes_with_plain_pytest_inside_and_outside_the_folder(tmp_path):
    write_project(tmp_path / "lab")
    for folder, arguments in ((tmp_path / "lab", []), (tmp_path, ["lab"])):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "6 passed" in done.stdout


@pytest.mark.slow
def test_a_new_users_path_works_with_the_wheel_in_an_empty_directory(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def shell(command, folder=tmp_path):
        done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    shell(f"{sys.executable} -m venv venv")
    shell(f"venv/bin/python -m pip install -q -c {ROOT / 'constraints.txt'} mmkit-*.whl")
    shell("mkdir empty")
    out = shell(f"PATH={tmp_path}/venv/bin:$PATH; mmkit new demo && cd demo && mmkit_run experiment=first", tmp_path / "empty")
    values = dict(line.split() for line in out.splitlines() if line.startswith("val/retrieval"))
    assert float(values["val/retrieval/text_to_rgb_R@1"]) > 0.7 > 0.1 > float(values["val/retrieval/text_to_rgb_R@1_chance"])
