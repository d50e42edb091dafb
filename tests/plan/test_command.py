"""``mmkit plan``, and ``dry_run=true`` in its place."""

import json

import pytest

from mmkit.cli.main import run
from mmkit.cli.plan import count, dry_run, show_plan, size
from mmkit.errors import UsageError
from mmkit.plan import make_plan


def test_the_plan_is_a_table_and_sums(experiment, capsys):
    show_plan(experiment())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["component", "parameters", "output", "forward"]
    assert any(line.startswith("task.encoders.text") and "trainable" in line and "(8,24)" in line for line in lines)
    assert any(line.startswith("memory at most") for line in lines)
    assert max(len(line) for line in lines) <= 80


def test_mismatches_are_printed_and_end_with_exit_code_2(experiment, capsys):
    with pytest.raises(UsageError, match="1 part does not fit together; see above") as raised:
        show_plan(experiment({"task.heads.text.in_dim": 32}))
    assert raised.value.exit_code == 2
    out = capsys.readouterr().out
    assert "Does not fit\n  task.heads.text.in_dim=32 does not match task.encoders.text.width=24." in out
    assert "memory at most" not in out


def test_shapes_and_data_are_not_both_taken(experiment):
    with pytest.raises(UsageError, match="--shape and --data both say"):
        make_plan(experiment(), ["rgb=3x8x8"], with_data=True)


def test_json_is_one_document(experiment, capsys):
    show_plan(experiment(), as_json=True)
    plan = json.loads(capsys.readouterr().out)
    parts = ("parameters", "gradients", "optimizer", "average", "activations")
    assert plan["memory"]["peak"] == sum(plan["memory"][part] for part in parts)
    assert plan["rows"][0]["key"] == "task.encoders.rgb"


def test_a_typo_is_told_before_anything_is_built(capsys):
    with pytest.raises(SystemExit, match="2"):
        run(["plan", "emoji_clap"])
    assert "emoji_clip" in capsys.readouterr().err


def test_a_dry_run_leaves_no_directory_behind(experiment, tmp_path, capsys):
    (tmp_path / "outputs" / "kept").mkdir(parents=True)
    run_dir = tmp_path / "outputs" / "small" / "now"
    run_dir.mkdir(parents=True)
    dry_run(experiment(), run_dir)
    assert "memory at most" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["kept"]


def test_numbers_are_short():
    assert [count(number) for number in (0, 999, 1_000, 22_713_216, 999_600)] == ["0", "999", "1 k", "22.7 M", "1 M"]
    assert [size(number, binary=True) for number in (12, 2_048, 327_155_712, 5 * 2**30)] == ["12 B", "2 KiB", "312 MiB", "5 GiB"]
