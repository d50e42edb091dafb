import datetime
import functools
import math
from collections import Counter, OrderedDict, defaultdict
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkit.errors import UsageError
from mmkit.experiment.checkpoint import check_storable
from mmkit.experiment.checkpoint.storable import without_unstorable_hyper_parameters


class _Colour(Enum):
    RED = 1


class _Attributes(dict):
    pass


class _Point:
    def __init__(self):
        self.x = 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.zeros(2), "numpy.ndarray"),
        (np.float64(1), "numpy.float64"),
        (Path("x"), "pathlib.PosixPath"),
        (datetime.timedelta(1), "datetime.timedelta"),
        (functools.partial(int), "functools.partial"),
        (lambda: None, "function"),
        (_Colour.RED, "_Colour"),
        (_Attributes(a=1), "_Attributes"),
        (defaultdict(list), "collections.defaultdict"),
        (torch.Generator(), "Generator"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (torch.empty(2, device="meta"), "a tensor on the meta device"),
        (frozenset({1}), "frozenset"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_could_not_be_loaded_safely_is_named_by_its_path(value, kind):
    checkpoint = {"callbacks": {"MyCallback": {"state": [1, {"x": value}]}}}
    with pytest.raises(UsageError, match=r"callbacks\.MyCallback\.state\[1\]\.x is a ") as raised:
        check_storable(checkpoint)
    assert kind in str(raised.value)
    assert "state_dict() or on_save_checkpoint()" in str(raised.value)


@pytest.mark.parametrize(
    "value",
    [1, 1.5, math.nan, "a", b"a", None, True, 1j, {1: {"a": (1, [2])}}, {3}, Counter("a"), OrderedDict(a=1), bytearray(b"a"),
     torch.float32, torch.device("cpu"), torch.Size([1]), torch.ones(2),
     torch.nn.Parameter(torch.ones(2)), torch.eye(2).to_sparse()],
    ids=str,
)  # fmt: skip
def test_what_torch_loads_safely_is_storable(value):
    check_storable({"value": value})


def test_a_key_that_is_an_object_is_named():
    with pytest.raises(UsageError, match=r"the key <_Colour.RED: 1> of callbacks is a .*_Colour"):
        check_storable({"callbacks": {_Colour.RED: 1}})


def test_a_type_that_the_user_declared_safe_is_storable():
    with torch.serialization.safe_globals([_Point]):
        check_storable({"value": _Point()})


def test_a_container_that_holds_itself_is_storable():
    value = []
    value.append(value)
    check_storable({"value": value})


def test_attributes_of_a_state_dict_are_looked_at():
    weights = OrderedDict(a=torch.ones(1))
    weights._metadata = {"": {"version": np.int64(1)}}
    with pytest.raises(UsageError, match=r"state_dict._metadata..version is a numpy.int64"):
        check_storable({"state_dict": weights})


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"a": {"b": torch.ones(1)}}, "mmkit_state.a.b is a torch.Tensor, which JSON does not have"),
        ({"a": [1, {2}]}, r"mmkit_state.a\[1\] is a set"),
        ({"a": {1: 2}}, "the key 1 of mmkit_state.a is a int; .* keys are strings"),
        ({"a": np.float64(1)}, "mmkit_state.a is a numpy.float64"),
    ],
)
def test_the_state_has_to_be_json(state, says):
    with pytest.raises(UsageError, match=says):
        check_storable({"mmkit_state": state})


def test_a_long_list_of_problems_is_cut():
    with pytest.raises(UsageError, match="and 15 more"):
        check_storable({"values": [np.zeros(1) for _ in range(25)]})


def test_hyper_parameters_are_left_out_only_if_they_are_objects():
    checkpoint = {
        "hyper_parameters": {"encoder": torch.nn.Linear(1, 1)},
        "hparams_name": "kwargs",
        "datamodule_hyper_parameters": {"a": 1},
    }
    check_storable(checkpoint)
    assert without_unstorable_hyper_parameters(checkpoint) == {"hparams_name": "kwargs", "datamodule_hyper_parameters": {"a": 1}}
