"""``mmkit data peek`` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmkit.cli.main import run
from tests.cli.terminal import run_in_terminal


MMKIT = Path(sys.executable).with_name("mmkit")
PICTURES = """
@external_store(group="datasets")
class Pictures(torch.utils.data.Dataset):
    def __init__(self, first: int = 0):
        self.first = first

    def __len__(self):
        return 6

    def __getitem__(self, index):
        number = self.first + index
        picture = torch.full((3, 32, 32), number, dtype=torch.uint8)
        return Example({EXAMPLE_INDEX_KEY: number, Modalities.RGB.name: picture, Modalities.TEXT.name: f"number {number}"})
"""
EXPERIMENT = """# @package _global_
defaults:
- /datasets@datasets.train.pictures: EncodedDataset
- /datasets@datasets.train.pictures.dataset: Pictures
- /datasets@datasets.val.pictures: Pictures
- override /task: ContrastivePretraining
- _self_

experiment_name: pictures
datasets:
  train: {pictures: {encoders: {rgb: {_target_: no.such.Encoder}}}}
  val: {pictures: {first: 4}}
"""


@pytest.fixture
def pictures(project):
    with (project / "my_project" / "parts.py").open("a") as file:
        file.write(PICTURES)
    (project / "my_project" / "configs" / "experiment" / "pictures.yaml").write_text(EXPERIMENT)
    return project


def test_a_terminal_shows_examples_their_keys_a_sheet_and_what_splits_share(pictures):
    shown = run_in_terminal([MMKIT, "data", "peek", "pictures", "-k", "3"], pictures)
    assert shown.code == 0, shown.screen
    lines = [" ".join(line.split()) for line in shown.screen.splitlines()]
    for line in (
        "datasets.train.pictures my_project.parts.Pictures, 6 examples",  # what is encoded, and not its features
        "rgb uint8 picture 3×32×32 0 to 5, mean 2.333",
        "2 2 number 2",
        "Pictures: peek-pictures-train.png",
        "train.pictures and val.pictures share 2 ids and the content of 2.",
    ):
        assert line in lines, shown.screen
    assert (pictures / "peek-pictures-train.png").read_bytes().startswith(b"\x89PNG")
    assert max(map(len, shown.screen.splitlines())) <= 80


def test_json_of_another_split_with_overrides(pictures):
    command = [MMKIT, "data", "peek", "pictures", "datasets.val.pictures.first=100", "--split", "val", "--json", "--check", "2"]
    done = subprocess.run(command, cwd=pictures, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [column["key"] for column in found["datasets"][0]["keys"]] == ["example_index", "rgb", "text"]
    assert found["datasets"][0]["texts"][0] == [0, 100, "number 100"]
    assert [split["num_checked"] for split in found["checks"]["splits"]] == [2, 2]
    assert found["checks"]["overlaps"][0]["num_ids"] == 0


def test_an_unknown_experiment_is_told_before_anything_heavy_is_imported(pictures):
    code = (
        "import sys; from mmkit.cli.main import run; code = run(['data', 'peek', 'pictuers']);"
        "print(any(name in sys.modules for name in ('torch', 'lightning', 'transformers', 'timm', 'wandb'))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=pictures, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert "there is no experiment 'pictuers'." in done.stderr
    assert "Type +experiment=pictures" in done.stderr


def test_a_data_set_that_cannot_be_built_is_told_in_a_line(pictures, capsys):
    typed = ["data", "peek", "emoji_clip", "datasets.train.emoji.dataset.sets=none_such"]
    assert run(typed) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mmkit: datasets.train.emoji.dataset: ")


@pytest.mark.parametrize(("option", "number", "least"), [("-k", "0", 1), ("-k", "-2", 1), ("--check", "-5", 0)])
def test_a_number_of_examples_is_one_that_can_be_looked_at(capsys, option, number, least):
    with pytest.raises(SystemExit) as ended:
        run(["data", "peek", "first", option, number])
    assert ended.value.code == 2
    assert f"argument {option}: '{number}' is given; a whole number from {least} on is needed." in capsys.readouterr().err
