from collections import OrderedDict

import torch

from mmkit.experiment.checkpoint.snapshot import Snapshots


def test_a_snapshot_does_not_change_with_the_original():
    weight, numbers = torch.zeros(3), [1, {"a": 2}]
    taken = Snapshots().take({"weight": weight, "numbers": numbers, "more": {"set": {1}}})
    weight += 1
    numbers[1]["a"] = 3
    numbers.append(4)
    assert taken["weight"].tolist() == [0, 0, 0]
    assert taken["numbers"] == [1, {"a": 2}]


def test_memory_is_used_again_for_the_next_snapshot():
    snapshots = Snapshots()
    first = snapshots.take({"a": torch.zeros(100), "b": [torch.ones(50)]})["a"].data_ptr()
    assert snapshots.take({"a": torch.ones(100), "b": [torch.ones(50)]})["a"].data_ptr() == first


def test_a_snapshot_of_other_shapes_is_right_too():
    snapshots = Snapshots()
    snapshots.take({"a": torch.zeros(100)})
    taken = snapshots.take({"new": torch.arange(3), "a": torch.ones(100)})
    assert taken["new"].tolist() == [0, 1, 2]
    assert torch.equal(taken["a"], torch.ones(100))


def test_shared_memory_is_copied_once():
    whole = torch.arange(6)
    taken = Snapshots().take({"whole": whole, "part": whole[2:4], "whole again": whole})
    assert taken["whole"] is taken["whole again"]
    assert taken["part"].untyped_storage().data_ptr() == taken["whole"].untyped_storage().data_ptr()
    assert taken["part"].tolist() == [2, 3]


def test_layout_kind_and_attributes_are_kept():
    weights = OrderedDict(w=torch.nn.Parameter(torch.arange(6.0).view(2, 3).t(), requires_grad=False))
    weights._metadata = {"": {"version": 2}}
    taken = Snapshots().take({"state_dict": weights})["state_dict"]
    assert taken["w"].stride() == (1, 3)
    assert isinstance(taken["w"], torch.nn.Parameter)
    assert not taken["w"].requires_grad
    assert taken._metadata == {"": {"version": 2}}
    assert taken._metadata is not weights._metadata


def test_tensors_in_host_memory_are_not_copied_when_nothing_changes_them():
    weight = torch.zeros(3)
    assert Snapshots().take({"a": weight}, share_host_memory=True)["a"].data_ptr() == weight.data_ptr()
