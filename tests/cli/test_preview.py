"""The preview of an experiment: valid YAML, resolved, with comments on what a reader would ask."""

import io
import re
import subprocess
import sys
from enum import Enum

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mmkit.cli.composing import compose
from mmkit.cli.preview import lines_of, print_help, print_preview
from mmkit.cli.yaml_text import flow, scalar
from mmkit.conf.projects import find_projects, search_path


class Colour(Enum):
    RED = 1


def preview(values):
    lines = lines_of(OmegaConf.create(values))
    return yaml.safe_load("\n".join(lines)), lines


def test_interpolations_are_replaced_and_named_in_a_comment():
    values, lines = preview({"a": 3, "b": "${a}", "c": "x-${a}"})
    assert values == {"a": 3, "b": 3, "c": "x-3"}
    assert lines[1:] == ["b: 3  # ${a}", "c: x-3  # x-${a}"]


def test_a_reference_to_a_part_is_written_out():
    values, lines = preview({"a": {"x": 1, "y": "${a.x}"}, "b": "${a}"})
    assert values["b"] == {"x": 1, "y": 1}
    assert "b:  # ${a}" in lines


def test_a_reference_to_null_is_null():
    assert preview({"a": None, "b": "${a}"})[0]["b"] is None


@pytest.mark.parametrize("text", ["${nothing}", "${oc.env:HOME}", "${unknown:1}", "${missing}"])
def test_what_does_not_resolve_or_may_be_secret_stays_as_it_is_written(text):
    assert preview({"missing": "???", "a": text})[0]["a"] == text


def test_references_that_come_back_to_themselves_end():
    assert preview({"a": {"b": "${a}"}})[0] == {"a": {"b": "${a}"}}
    assert preview({"a": {"x": "${b}"}, "b": {"y": "${a}"}})[0]["a"] == {"x": {"y": "${a}"}}


def test_missing_values_are_marked_with_what_to_type():
    values, lines = preview({"task": {"rgb": "???"}, "list": [{"x": "???"}]})
    assert values["task"]["rgb"] == "???"
    assert "  rgb: ???  # missing: give task.rgb=VALUE" in lines
    assert lines[-1].strip() == "x: ???  # missing: give list[0].x=VALUE"


def test_lists_of_numbers_and_small_dicts_in_lists_take_one_line():
    lines = preview({"k": [1, 10], "specs": [{"query": "text", "k": [1]}], "empty": [], "none": {}})[1]
    assert lines == ["k: [1, 10]", "specs:", "  - {query: text, k: [1]}", "empty: []", "none: {}"]


_TEXTS = st.text() | st.sampled_from(
    ["", "yes", "3", "1e3", "???", "a: b", "- a", "#", "a #b", "${a:b}", "null", "~", "x\ny", "2020-01-01"]
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=8
)


@given(_VALUES)
def test_values_on_one_line_read_back_as_they_were(value):
    text = flow(value)
    assert "\n" not in text
    assert yaml.safe_load(f"key: {text}")["key"] == value


def test_enumerations_are_written_by_name():
    assert scalar(Colour.RED) == '"RED"'


@pytest.fixture(scope="module")
def composed():
    arguments = ["+experiment=emoji_clip", "task.optimizer.lr=0.25"]
    return compose("base_config", arguments, search_path(arguments, find_projects()))


def test_the_preview_of_an_experiment_is_yaml_and_equals_what_runs(composed, capsys):
    print_preview(composed)
    out = capsys.readouterr().out
    shown = yaml.safe_load(out)
    with composed.resolving() as cfg:
        assert shown == OmegaConf.to_container(cfg, resolve=True)
    assert "T_max: 900  # ${trainer.max_steps}" in out
    assert "dataset: ???  # filled from datasets.train" in out
    assert "missing: " not in out


def test_it_tells_the_parts_in_use_and_their_options(composed, capsys):
    print_preview(composed)
    lines = capsys.readouterr().out.splitlines()
    assert "#   modules/losses@task.loss=ContrastiveLoss" in lines
    assert any(re.fullmatch(r"#   datasets +\d+: mmkit list datasets", line) for line in lines)
    assert any("mmkit list modules/encoders" in line for line in lines)
    assert not any("hydra/" in line for line in lines)


def test_options_are_named_where_they_are_few(composed, capsys, monkeypatch):
    monkeypatch.setattr("mmkit.cli.preview.MAX_NAMED", 1000)
    print_preview(composed)
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#   datasets  ")]
    assert "Emoji, EncodedDataset" in line


def test_a_terminal_gets_colours_and_the_same_text(composed, capsys, monkeypatch):
    print_preview(composed)
    plain = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdout", stream := io.StringIO())
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_preview(composed)
    coloured = stream.getvalue()
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).split() == plain.split()


def test_without_an_experiment_help_tells_what_to_type(capsys):
    print_help(find_projects())
    out = capsys.readouterr().out
    assert "mmkit_run experiment=NAME --help" in out
    assert "--multirun" in out


def test_nothing_heavy_is_imported(tmp_path):
    code = """
import sys
from mmkit.cli.composing import compose
from mmkit.cli.preview import print_preview
from mmkit.conf.projects import find_projects, search_path

arguments = ["+experiment=emoji_clip"]
print_preview(compose("base_config", arguments, search_path(arguments, find_projects())))
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "lightning", "transformers", "timm", "wandb", "hydra_zen", "pygments", "projects.emoji_clip.dataset"}
    assert not heavy & set(done.stderr.split())
    assert "experiment_name: emoji_clip" in done.stdout
