"""The page on hidden transformations is executed from top to bottom: files are written, commands typed, Python and YAML used."""

import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
import yaml

from mmkit.hiddens import get_hiddens_module


PAGE = (Path(__file__).parents[2] / "docs" / "hiddens.md").read_text()
BLOCK = re.compile(r'^```(\w+)(?: (\w+)="(.*?)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(PAGE)
FILES = {value: text for _, attribute, value, text in BLOCKS if attribute == "title"}
SETTINGS = [(value.split(), text) for language, attribute, value, text in BLOCKS if language == "yaml" and attribute != "title"]


def type_in(folder, *command):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty directory with the page's files."""
    folder = tmp_path_factory.mktemp("page")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_python_and_commands_of_the_page_run_one_after_the_other(folder):
    typed = [(language, text) for language, attribute, _, text in BLOCKS if language in ("bash", "python") and not attribute]
    for language, blocks in groupby(sorted_into_sessions(typed), lambda block: block[0]):
        code = "\n".join(text for _, text in blocks)
        type_in(folder, *(["bash", "-ec", code] if language == "bash" else [sys.executable, "-c", code]))
    assert list(folder.glob("outputs/boxes_mim/*/boxes_mim.mmkit"))
    assert list(folder.glob("outputs/boxes_scaled/*/boxes_scaled.mmkit"))


def sorted_into_sessions(typed):
    """What comes before the first command; the commands; all Python after that, which is one session to its reader."""
    first = [language for language, _ in typed].index("bash")
    later = typed[first:]
    return typed[:first] + [block for block in later if block[0] == "bash"] + [block for block in later if block[0] == "python"]


@pytest.mark.parametrize(("available", "text"), SETTINGS, ids=range(len(SETTINGS)))
def test_settings_of_the_page_make_a_pipeline(available, text):
    pipeline = get_hiddens_module(yaml.safe_load(text), available)
    assert pipeline.names.owner(pipeline.enc_output_name) in pipeline.transforms


def test_the_last_experiment_of_the_page_fits_together(folder):
    (folder / "boxes.txt").write_text("a red old box\n" * 40)
    told = type_in(folder, "mmkit", "plan", "boxes_bart")
    assert "task.model.decoder" in told
    assert "Does not fit" not in told


def test_every_registered_part_is_on_the_page():
    from mmkit.hiddens import get_registered_hiddens

    assert [name for names in get_registered_hiddens().values() for name in names if f"`{name}`" not in PAGE] == []
