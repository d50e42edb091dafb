"""The guide is executed as it stands: files are written, Python is run, commands are typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


GUIDE = Path(__file__).parents[2] / "docs" / "user_guide.md"
BLOCK = re.compile(r"^```(\w+) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks():
    for language, attributes, text in BLOCK.findall(GUIDE.read_text()):
        if attributes != "norun":
            yield language, attributes.removeprefix('title="').removesuffix('"'), text


def type_in(command, folder):
    """Run a shell command with this environment's mmkit_run."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty directory with the guide's files."""
    folder = tmp_path_factory.mktemp("guide")
    for _, title, text in blocks():
        if title:
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(text)
    return folder


def test_python_of_the_guide_runs(folder):
    code = "\n".join(text for language, title, text in blocks() if language == "python" and not title)
    (folder / "snippets.py").write_text(code)
    done = type_in(f"{sys.executable} snippets.py", folder)
    assert done.returncode == 0, done.stderr


COMMANDS = [line for language, _, text in blocks() if language == "bash" for line in text.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_guide_runs(folder, command):
    done = type_in(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    if "verify" in command:
        assert "IDENTICAL" in done.stdout
    elif "--help" not in command:
        assert "Run directory" in done.stdout


def test_the_guide_lists_the_base_configuration():
    from dataclasses import fields

    from mmkit.conf import MMKitConf

    listed = re.findall(r"^\| `(\w+)", GUIDE.read_text().partition("## The base configuration")[2], re.MULTILINE)
    assert listed[: len(fields(MMKitConf)) - 2] == [
        field.name for field in fields(MMKitConf) if field.name not in ("defaults", "hydra")
    ]


def test_the_guide_lists_every_group():
    from mmkit.conf import GROUP_MODULES

    table = GUIDE.read_text().partition("## What is there already")[2]
    assert [group for group in GROUP_MODULES if f"`{group}`" not in table and group != "data"] == []


def test_the_experiment_of_the_readme_runs(folder):
    text = (GUIDE.parents[1] / "README.md").read_text()
    (yaml,) = [body for language, _, body in BLOCK.findall(text) if language == "yaml"]
    (folder / "my_project" / "configs" / "experiment" / "readme.yaml").write_text(yaml)
    done = type_in("mmkit_run +experiment=readme trainer.max_steps=1", folder)
    assert done.returncode == 0, done.stdout + done.stderr
