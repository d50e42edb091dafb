"""What bare ``mmkit_run`` prints."""

import os
import subprocess
import sys

import pytest

from mmkit.cli.usage import description, print_usage
from mmkit.conf.projects import find_projects


RUN = "from mmkit.cli.run import main; main()"


def test_experiments_are_listed_by_project_with_what_they_say_about_themselves(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "lab" / "configs" / "experiment"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "cats.yaml").write_text(
        "# @package _global_\n#\n# Cats against\n# dogs. See the paper.\n#\n# Command x\ndefaults: []\n"
    )
    (folder / "silent.yaml").write_text("# @package _global_\nseed: 1\n")
    monkeypatch.chdir(tmp_path)
    print_usage([project for project in find_projects() if project.root == tmp_path])
    assert capsys.readouterr().out.splitlines()[2:6] == [
        "Experiments found",
        "  lab",
        "    cats    Cats against dogs.",
        "    silent",
    ]


def test_lines_fit_into_the_terminal(capsys):
    print_usage(find_projects(), width=80)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("…") for line in lines)
    assert max(map(len, lines)) <= 80


def test_where_there_is_none_the_way_to_one_is_told(capsys):
    print_usage([])
    assert "mmkit new PROJECT" in capsys.readouterr().out


def test_a_file_that_is_no_text_is_listed_without_a_description(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert description(path) == ""
    assert description(tmp_path / "absent.yaml") == ""


def test_terminals_without_unicode_get_a_replacement():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, env=environment)
    assert "flags, ?)" in done.stdout, done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", [[], ["--help"], ["experiment=emoji_clip", "--help"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(arguments):
    running = subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    running.stdout.close()
    _, errors = running.communicate()
    assert errors == ""


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from mmkit.cli.usage import print_usage; from mmkit.conf.projects import find_projects; "
        "print_usage(find_projects()); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"hydra", "omegaconf", "yaml", "rich", "torch"} & set(done.stderr.split())
