import torch
from torch import nn

from mmkit.tasks.parameter_groups import weight_decay_groups


class WithExempt(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(4, 4))
        self.linear = nn.Linear(4, 4)

    def no_weight_decay(self):
        return {"position"}


def test_vectors_and_exempt_parameters_do_not_decay():
    model = nn.ModuleDict({"a": WithExempt(), "norm": nn.LayerNorm(4)})
    decayed, plain = weight_decay_groups(model, 0.1)
    assert [parameter is model["a"].linear.weight for parameter in decayed["params"]] == [True]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert len(plain["params"]) == 4


def test_frozen_parameters_are_in_no_group():
    model = nn.Linear(3, 3).requires_grad_(False)
    assert weight_decay_groups(model, 0.1) == []
    assert weight_decay_groups(model, None) == [{"params": []}]


def test_without_decay_there_is_one_group():
    model = nn.Linear(3, 3)
    assert weight_decay_groups(model, 0)[0]["params"] == list(model.parameters())
