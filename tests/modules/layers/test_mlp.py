import pytest
import torch
from torch import nn

from mmkit.modules.layers import MLP


def test_depth_zero_hands_the_input_on() -> None:
    x = torch.randn(2, 4)
    assert torch.equal(MLP(4, depth=0)(x), x)


def test_depth_one_is_one_linear_map() -> None:
    mlp = MLP(4, 3, depth=1)
    (linear,) = mlp.layers
    x = torch.randn(2, 5, 4)
    assert torch.allclose(mlp(x), x @ linear.weight.T + linear.bias, atol=1e-6)


def test_depth_two_is_linear_norm_activation_dropout_linear() -> None:
    kinds = [type(layer) for layer in MLP(4, 3, hidden_dim=5, norm="layer", activation="relu", dropout=0.1).layers]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.ReLU, nn.Dropout, nn.Linear]


def test_layers_have_the_sizes_asked_for() -> None:
    linears = [layer for layer in MLP(4, 3, hidden_dim=5, depth=3).layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linears] == [(4, 5), (5, 5), (5, 3)]


def test_without_bias_zero_maps_to_zero() -> None:
    assert not MLP(4, depth=3, bias=False)(torch.zeros(1, 4)).any()


def test_batch_norm_takes_statistics_over_all_leading_axes() -> None:
    mlp = MLP(4, norm="batch")
    x = torch.randn(3, 5, 4)
    assert torch.allclose(mlp(x).flatten(0, 1), mlp(x.flatten(0, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "swish"}, "Unknown activation 'swish'. Allowed: gelu, relu, silu, tanh."),
        ({"norm": "rms"}, "Unknown norm 'rms'. Allowed: batch, layer or None."),
        ({"depth": 0, "out_dim": 3}, "depth=0 cannot map 4 to 3 units. Use depth=1 or more."),
        ({"depth": -1}, "depth=-1 cannot map"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(4, **arguments)
