import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.terminal import run_in_terminal


RECIPE = """
import time

from mmkit.conf import external_store
from mmkit.datasets.recipes import Recipe


@external_store(group="data", name="squares")
class Squares(Recipe):
    name = "squares"
    summary = "Square numbers."
    version = 1
    choices = {"many": "ten", "slow": "one, after a while"}

    def build(self, preparation):
        for number in preparation.track(range(10), "Square"):
            (preparation.folder / f"{number}.txt").write_text(str(number**2))
            if preparation.sets == "slow":
                time.sleep(60)
        return {"counts": {"squares": 10}}
"""


@pytest.fixture
def project(tmp_path):
    """A directory with a project whose recipe makes square numbers."""
    folder = tmp_path / "my_numbers"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "__init__.py").touch()
    (folder / "recipe.py").write_text(RECIPE)
    return tmp_path


def _environment(project):
    return {**os.environ, "MMKIT_DATA": str(project / "cache"), "COLUMNS": "120"}


def _mmkit(project, *arguments):
    command = [Path(sys.executable).with_name("mmkit"), *arguments]
    return subprocess.run(command, cwd=project, env=_environment(project), capture_output=True, text=True, check=False)


def test_list_shows_the_recipes_of_this_directory_and_those_shipped(project):
    done = _mmkit(project, "data", "list")
    assert done.returncode == 0
    assert re.search(r"^emoji\s", done.stdout, re.MULTILINE)
    assert re.search(r"^squares\s+Square numbers.", done.stdout, re.MULTILINE)
    assert re.search(r"^\s+many\s+no\s+ten\s*$", done.stdout, re.MULTILINE)
    assert str(project / "cache") in done.stdout


def test_prepare_then_path_then_prepare_again(project):
    assert _mmkit(project, "data", "prepare", "squares").returncode == 0
    located = _mmkit(project, "data", "path", "squares")
    assert located.stdout == f"{project / 'cache' / 'squares-many'}\n"
    assert json.loads((Path(located.stdout.strip()) / "manifest.json").read_text())["counts"] == {"squares": 10}
    again = _mmkit(project, "data", "prepare", "squares")
    assert (again.returncode, again.stderr.partition(",")[0]) == (0, "squares-many is prepared already")
    assert re.search(r"^\s+many\s+yes\s+ten\s*$", _mmkit(project, "data", "list").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["data", "path", "squares"], 3, "The data set 'squares' is not prepared. Type: mmkit data prepare squares"),
        (["data", "prepare", "sqares"], 2, "There is no data set 'sqares'. Did you mean 'squares'?"),
        (["data", "prepare", "squares", "--sets", "few"], 2, "has no selection 'few'. Allowed: many, slow."),
        (["data"], 2, "required: ACTION"),
        (["dta"], 2, "invalid choice: 'dta'"),
        ([], 2, "required: COMMAND"),
    ],
    ids=["not_prepared", "unknown_data_set", "unknown_selection", "no_action", "unknown_command", "no_command"],
)
def test_mistakes_end_with_a_line_and_a_code(project, arguments, code, says):
    done = _mmkit(project, *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_recipe_does_not_hide_the_others(project):
    broken = project / "broken"
    (broken / "configs").mkdir(parents=True)
    (broken / "configs" / "__init__.py").touch()
    (broken / "recipe.py").write_text("import no_such_module")
    done = _mmkit(project, "data", "list")
    assert "Square numbers." in done.stdout
    assert f"{broken / 'recipe.py'} cannot be imported: No module named 'no_such_module'" in done.stderr


def test_ctrl_c_ends_a_preparation_with_130_and_leaves_nothing(project):
    command = [Path(sys.executable).with_name("mmkit"), "data", "prepare", "squares", "--sets", "slow"]
    running = subprocess.Popen(
        command,
        cwd=project,
        env=_environment(project),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background shell's children ignore it
    )
    while not list((project / "cache").glob(".squares-slow.partial/0.txt")):
        assert running.poll() is None, running.stderr.read()  # pyright: ignore[reportOptionalMemberAccess]
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate()
    assert running.returncode == 130
    assert said.endswith("mmkit: interrupted\n")
    assert "Traceback" not in said
    left = {path.name for path in (project / "cache").iterdir()}
    assert left <= {"downloads", ".squares-slow.lock"}


def test_the_command_never_imports_torch(project):
    code = (
        "import sys; from mmkit.cli.main import run; run(['data', 'list']); run(['data', 'path', 'emoji']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'transformers', 'timm', 'wandb')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=_environment(project), check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_help_and_version(project):
    assert "prepare data sets" in _mmkit(project, "--help").stdout
    assert re.fullmatch(r"mmkit \d+\.\d+\.\d+\S*\n", _mmkit(project, "--version").stdout)


def test_list_prints_json(project):
    found = json.loads(_mmkit(project, "data", "list", "--json").stdout)
    squares = next(recipe for recipe in found if recipe["name"] == "squares")
    assert squares["summary"] == "Square numbers."
    assert squares["selections"][0] == {
        "name": "many",
        "summary": "ten",
        "state": "no",
        "folder": str(project / "cache" / "squares-many"),
    }


COMPUTED = RECIPE.replace('name = "squares"', 'name = "".join(["computed"])').replace('name="squares"', 'name="computed"')
CALLED = RECIPE.replace("@external_store", "@(lambda cls: cls)  # external_store").replace('"squares"', '"called"') + (
    '\n\nexternal_store(Squares, group="data", name="called")\n'
)


@pytest.mark.parametrize(
    ("source", "name", "is_imported"), [(RECIPE, "squares", False), (COMPUTED, "computed", True), (CALLED, "called", True)]
)
def test_only_what_source_does_not_tell_is_imported_for_a_list(project, source, name, is_imported):
    (project / "my_numbers" / "recipe.py").write_text(source)
    code = (
        "import sys; from mmkit.cli.main import run; run(['data', 'list']);"
        "print(*(name for name in ('hydra', 'omegaconf', 'hydra_zen', 'numpy') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=_environment(project), check=True, capture_output=True, text=True
    )
    assert re.search(rf"^{name}\s+Square numbers.", done.stdout, re.MULTILINE)
    assert ("hydra_zen" in done.stdout.splitlines()[-1]) == is_imported, done.stdout + done.stderr


def test_list_fits_a_terminal(project):
    shown = run_in_terminal([Path(sys.executable).with_name("mmkit"), "data", "list"], project, {"MMKIT_DATA": "cache"})
    assert shown.code == 0
    assert "\x1b[1mdata set" in shown.raw
    assert re.search(r"^squares +Square numbers\.$", shown.screen, re.MULTILINE)
