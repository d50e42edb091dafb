"""``mmkit verify resume``: it finds identical runs identical, and names what differs first."""

import json
from typing import Any

import pytest
import torch

from mmkit.experiment.checkpoint import DirectoryCheckpointIO
from mmkit.experiment.comparison import different_inputs, different_states
from mmkit.experiment.input_record import digests
from tests.reliability.exact_run import mmkit_run, write_project


def saved(path, **changes):
    """A checkpoint with something of every kind that is compared, and with something that is not."""
    checkpoint = {
        "state_dict": {"weight": torch.tensor([1.0, torch.nan]), "count": torch.tensor(3)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [{"last_epoch": 1, "_last_lr": [0.1]}],
        "callbacks": {"average": {"weight": torch.ones(1)}},
        "mmkit_state": {"step": 1, "logger": "a"},
        "global_step": 1,
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        node: Any = checkpoint
        for parent in parents:
            node = node[int(parent) if isinstance(node, list) else parent]
        node[last] = value
    DirectoryCheckpointIO(asynchronous=False).save_checkpoint(checkpoint, path)
    return path


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param({"state_dict__weight": torch.tensor([1.0, 2.0])}, "state_dict.weight", id="nan"),
        pytest.param({"state_dict__weight": torch.tensor([-1.0, torch.nan])}, "state_dict.weight", id="sign"),
        pytest.param({"state_dict__count": torch.tensor(3.0)}, "state_dict.count", id="type"),
        pytest.param({"state_dict__more": torch.zeros(1)}, "state_dict.more", id="more"),
        pytest.param({"optimizer_states__0__param_groups": [{"lr": 0.2}]}, "optimizer_states.0.param_groups.0.lr", id="number"),
        pytest.param({"callbacks__average__weight": torch.ones(2)}, "callbacks.average.weight", id="shape"),
        pytest.param({"callbacks__average__weight": torch.tensor([1.0 + 2**-23])}, "callbacks.average.weight", id="last-bit"),
    ],
)
def test_first_difference_of_two_states_is_named(change, name, tmp_path):
    assert different_states(saved(tmp_path / "a"), saved(tmp_path / "b", **change)) == [name]


def test_equal_states_are_equal_whoever_saved_them(tmp_path):
    other = saved(tmp_path / "b", mmkit_state={"step": 1, "logger": "b"})
    assert different_states(saved(tmp_path / "a"), other) == []


def recorded(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line(epoch, batch, value, ids=((0, 1), (0, 2))):
    inputs = {"rgb": torch.full((2, 1), value), "text": ["a", "b"]}
    return {"epoch": epoch, "batch": batch, "step": batch, "ids": {"rgb": ids}, "digests": digests(inputs)}


def test_batches_whose_inputs_differ_are_named_in_their_order(tmp_path):
    first = recorded(tmp_path / "a", line(0, 0, 1.0), line(0, 1, 2.0), line(1, 0, 3.0), line(1, 1, 4.0))
    second = recorded(tmp_path / "b", line(0, 0, 1.0), line(0, 1, 9.0), line(0, 1, 2.0), line(1, 0, 3.5))
    assert list(different_inputs(first, second)) == [
        "epoch 1, batch 0: rgb differ; example ids (0, 1), (0, 2)",
        "epoch 1, batch 1: only the first run has it",
    ]


def test_half_a_line_of_a_killed_run_is_not_read(tmp_path):
    first = recorded(tmp_path / "a", line(0, 0, 1.0))
    second = recorded(tmp_path / "b", line(0, 0, 1.0))
    with second.open("a") as file:
        file.write('{"epoch": 0, "batch": 1, "st')
    assert list(different_inputs(first, second)) == []


def test_long_lists_of_examples_are_cut(tmp_path):
    ids = [(0, number) for number in range(20)]
    first, second = (recorded(tmp_path / name, line(0, 0, value, ids)) for name, value in (("a", 1.0), ("b", 2.0)))
    assert next(different_inputs(first, second)).endswith(
        "example ids (0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), …"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(torch.zeros(2), torch.zeros(1, 2), id="shape"),
        pytest.param(torch.zeros(2), torch.zeros(4, dtype=torch.float16), id="type"),
        pytest.param(torch.tensor([0.0]), torch.tensor([-0.0]), id="sign-of-zero"),
        pytest.param(["a"], ["b"], id="text"),
    ],
)
def test_digest_tells_values_apart(one, other):
    assert digests({"x": one}) != digests({"x": other})
    assert digests({"x": one}) == digests({"x": one})
    assert list(digests({"x": {"y": [one if torch.is_tensor(one) else torch.ones(1)]}})) == ["x.y[0]"]


# The command


def verified(project, *arguments):
    process = mmkit_run(project, "verify", "resume", "exact", *arguments, "--steps", "6", command="mmkit")
    output, error = process.communicate(timeout=300)
    return process.returncode, output, error


@pytest.mark.slow
def test_an_experiment_that_resumes_exactly_is_identical(project):
    code, output, error = verified(project, "--kills", "1")
    assert code == 0, error
    assert "IDENTICAL: weights, optimizer, schedules and averages after 6 steps, and every input." in output


@pytest.mark.slow
def test_a_planted_random_number_is_named(tmp_path):
    project = write_project(tmp_path)
    parts = project / "exact_run" / "parts.py"
    planted = parts.read_text().replace("shift = random.random()", "shift = random.SystemRandom().random()")
    parts.write_text(planted)
    code, _, error = verified(project, "--kills", "1", "--keep", str(tmp_path / "kept"))
    assert code == 1
    assert "DIFFERENT. First tensor: state_dict." in error
    assert "First input: epoch 0, batch 0: rgb differ; example ids (0, " in error
    assert f"Both runs are in {tmp_path}/kept." in error
    assert (tmp_path / "kept" / "straight" / "checkpoints" / "step-000006").is_dir()


@pytest.mark.slow
def test_a_run_that_fails_is_told(project, tmp_path):
    code, _, error = verified(project, "trainer.max_epochs=none", "--keep", str(tmp_path / "kept"))
    assert code == 1
    assert "A run ended with exit code 2; the whole output is in" in error
    assert "max_epochs" in error
