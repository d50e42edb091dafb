import pytest
import torch

from mmkit.models import MegaWithHead
from projects.mega.ablation import ablated


@pytest.fixture
def model():
    torch.manual_seed(0)
    small = MegaWithHead(
        "causal_lm",
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        intermediate_size=8,
        shared_representation_size=4,
        nffn_hidden_size=8,
        bidirectional=False,
        is_decoder=True,
    )
    return small.eval()


def influence(model):
    """Whether the logits of the last of five tokens depend on each of them."""
    tokens = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        before = model(input_ids=tokens).logits[0, -1]
        changed = [tokens.index_fill(1, torch.tensor([place]), 15) for place in range(5)]
        return [not torch.equal(model(input_ids=each).logits[0, -1], before) for each in changed]


def test_each_part_alone_still_mixes_positions(model):
    assert influence(model) == [True] * 5
    assert influence(ablated(model, "ema")) == [True] * 5
    assert influence(ablated(model, "attention")) == [True] * 5


def test_without_both_positions_are_alone(model, monkeypatch):
    layer = ablated(model, "attention").model.mega.layers[0]
    monkeypatch.setattr(layer.mega_layer, "moving_average", lambda x, *_: x)
    assert influence(model) == [False] * 4 + [True]


@pytest.mark.parametrize("part", ["ema", "attention"])
def test_the_weights_stay(model, part):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = ablated(model, part).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("part", ["ema", "attention"])
def test_the_rest_is_trained(model, part):
    model = ablated(model.train(), part)
    model(input_ids=torch.tensor([[5, 6, 7]])).logits.sum().backward()
    idle = {name for name, value in model.named_parameters() if value.grad is None}
    assert idle
    assert all(("ema_gate" if part == "ema" else "mega_layer") in name for name in idle)


def test_nothing_is_taken_away_by_default(model):
    layers = [*model.modules()]
    assert [*ablated(model).modules()] == layers


def test_an_unknown_part_is_refused(model):
    with pytest.raises(ValueError, match=r"Mega cannot be without 'gate'. Allowed: ema, attention, null."):
        ablated(model, "gate")
