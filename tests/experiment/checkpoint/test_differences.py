import math

import pytest
import torch

from mmkit.errors import RefusedError
from mmkit.experiment.checkpoint import DirectoryCheckpointIO
from mmkit.experiment.checkpoint.differences import MISSING, TensorDifference, ValueDifference, differences


@pytest.fixture
def compare(tmp_path):
    """What differs between two checkpoints of given contents and configurations."""

    def compare(first, second, configs=(None, None)):
        for name, checkpoint, config in zip("ab", (first, second), configs, strict=True):
            DirectoryCheckpointIO(config, asynchronous=False).save_checkpoint(checkpoint, tmp_path / name)
        return differences(tmp_path / "a", tmp_path / "b")

    return compare


def test_a_checkpoint_does_not_differ_from_itself(compare, content):
    found = compare(content(1), content(1), ("a: 1\n", "a: 1  # the same\n"))
    assert not found
    assert found.num_compared == 13


def test_tensors_that_differ_are_named_with_the_largest_difference(compare):
    first = {"state_dict": {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2), "c": torch.tensor([True, False])}}
    second = {"state_dict": {"a": torch.tensor([1.5, 0.0]), "b": torch.zeros(2), "c": torch.tensor([True, True])}}
    assert compare(first, second).tensors == [
        TensorDifference("state_dict.a", ("float32 2", "float32 2"), 2.0),
        TensorDifference("state_dict.c", ("bool 2", "bool 2"), 1.0),
    ]


def test_shapes_types_and_missing_tensors_differ(compare):
    first = {"state_dict": {"a": torch.zeros(2, 3), "b": torch.zeros(()), "c": torch.zeros(1)}}
    second = {"state_dict": {"a": torch.zeros(3, 2), "b": torch.zeros(()).half()}}
    assert compare(first, second).tensors == [
        TensorDifference("state_dict.a", ("float32 2×3", "float32 3×2"), None),
        TensorDifference("state_dict.b", ("float32 scalar", "float16 scalar"), None),
        TensorDifference("state_dict.c", ("float32 1", MISSING), None),
    ]


def test_bits_count_not_values(compare):
    first = {"state_dict": {"nan": torch.tensor([math.nan]), "zero": torch.tensor([0.0])}}
    second = {"state_dict": {"nan": torch.tensor([math.nan]), "zero": torch.tensor([-0.0])}}
    assert compare(first, second).tensors == [TensorDifference("state_dict.zero", ("float32 1", "float32 1"), 0.0)]


def test_state_and_configuration_that_differ_are_named(compare):
    first = {"mmkit_state": {"step": 1, "words": "x" * 100, "same": [1, {"a": None}]}, "loops": {"n": [1, 2]}, "score": math.nan}
    second = {"mmkit_state": {"step": 2, "words": "y" * 100, "same": [1, {"a": None}]}, "loops": {"n": [1, 3]}, "score": math.nan}
    found = compare(first, second, ("a: {b: 1, c: '${a.b}'}\n", "a: {b: 2, c: '${a.b}'}\nd: []\n"))
    assert [each.name for each in found.state] == ["mmkit_state.step", "mmkit_state.words", "loops.n.1"]
    assert found.state[0] == ValueDifference("mmkit_state.step", ("1", "2"))
    assert len(found.state[1].values[0]) == 60
    assert found.config == [ValueDifference("a.b", ("1", "2")), ValueDifference("d", (MISSING, "[]"))]


def test_a_damaged_configuration_is_refused(compare):
    with pytest.raises(RefusedError, match=r"config.yaml cannot be read"):
        compare({}, {}, ("a: [", "a: 1"))
