from collections import OrderedDict

import pytest
import torch

from mmkit.experiment.checkpoint.large_tensors import LARGE_BYTES, put_back, taken_out


@pytest.fixture
def large():
    """Make large tensors of a value."""
    return lambda value: torch.full((LARGE_BYTES // 4,), float(value))


def _round_trip(state, tmp_path):
    part, places, tensors = taken_out(state)
    torch.save((part, places), tmp_path / "part.pt")
    part, places = torch.load(tmp_path / "part.pt", weights_only=True)
    put_back(part, places, tensors)
    return part, tensors


def test_large_tensors_are_taken_out_and_put_back(tmp_path, large, assert_same):
    state = {"a": [{1: large(1), "1": large(2)}, torch.ones(2)], "b": OrderedDict(c=large(3)), "d": (large(4),), "e": None}
    part, tensors = _round_trip(state, tmp_path)
    assert_same(part, state)
    assert sorted(tensors) == ["a.0.1", "a.0.1#1", "b.c"]  # those in tuples stay


def test_the_state_is_not_changed(large):
    state = {"a": [large(1)]}
    taken_out(state)
    assert torch.equal(state["a"][0], large(1))


def test_a_tensor_in_two_places_is_one_again(tmp_path, large):
    tensor = large(1)
    part, tensors = _round_trip({"a": tensor, "b": [tensor]}, tmp_path)
    assert part["a"] is part["b"][0]
    assert len(tensors) == 1


def test_a_container_in_two_places_is_one_again(tmp_path, large):
    group = {"m": large(1)}
    part, _ = _round_trip({"a": group, "b": group}, tmp_path)
    assert part["a"] is part["b"]
    assert torch.equal(part["a"]["m"], large(1))


def test_a_container_that_holds_itself_is_kept(large):
    state = {"m": large(1)}
    state["self"] = state
    part, _, _ = taken_out(state)
    assert part["self"] is part


@pytest.mark.parametrize(
    "second",
    [
        lambda tensor: tensor[:10],
        lambda tensor: tensor.view(2, -1),
        lambda tensor: (tensor,),
        lambda tensor: torch.nn.Parameter(tensor),
    ],
    ids=["a part", "another shape", "in a tuple", "a parameter"],
)
def test_memory_that_is_shared_otherwise_stays_with_torch(tmp_path, large, second):
    tensor = large(1)
    part, tensors = _round_trip({"a": tensor, "b": second(tensor)}, tmp_path)
    other = part["b"][0] if isinstance(part["b"], tuple) else part["b"]
    assert not tensors
    assert other.untyped_storage().data_ptr() == part["a"].untyped_storage().data_ptr()
    assert torch.equal(other.detach().flatten()[:10], torch.ones(10))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[1:],
        lambda x: x.view(2, -1).t(),
        lambda x: x.requires_grad_(),
        lambda x: x.to_sparse(),
        lambda x: x.to(torch.complex128),
    ],
    ids=["part of memory", "transposed", "with gradient", "sparse", "of another type"],
)
def test_what_the_format_does_not_keep_exactly_stays_with_torch(large, make):
    assert not taken_out({"a": make(large(1))})[2]


@pytest.mark.parametrize(
    ("path", "name"), [(["b"], "x"), (["a", 3], "x"), (["a", 0], "y"), ([], "x"), (["c", "d"], "x"), (["e"], "x")], ids=str
)
def test_places_that_are_not_there_are_noticed(path, name):
    state = {"a": [None], "c": 1, "e": "something else"}
    with pytest.raises((KeyError, IndexError, TypeError)):
        put_back(state, [(path, name)], {"x": torch.ones(1)})
