import pytest
import torch
from torch import nn

from mmkit.modules.encoders.freezing import FreezableEncoder, first_parameters, num_frozen_layers, transformer_layers


class Encoder(FreezableEncoder):
    """A miniature of a transformer: embedding, dropout, four blocks with a batch norm, a norm behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.embed = nn.Embedding(5, 4)
        self.model.drop = nn.Dropout()
        self.model.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4), nn.Dropout()) for _ in range(4)
        )
        self.model.norm = nn.LayerNorm(4)
        self.model.last_drop = nn.Dropout()


def trainable(encoder: nn.Module) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("freeze", "expected"), [(False, 0), (True, 12), (0, 0), (1, 1), (12, 12), (0.0, 0), (0.01, 1), (0.5, 6), (1.0, 12)]
)
def test_freeze_counts_layers(freeze: bool | int | float, expected: int) -> None:
    assert num_frozen_layers(freeze, 12, nn.Identity()) == expected


@pytest.mark.parametrize("freeze", [13, -1, 1.5, -0.1])
def test_more_layers_than_there_are_is_an_error_that_says_how_many(freeze: int | float) -> None:
    with pytest.raises(ValueError, match=rf"freeze={freeze}, but Identity has 12 layers. Allowed: .* 0 to 12, .* 0.0 to 1.0"):
        num_frozen_layers(freeze, 12, nn.Identity())


def test_layers_are_the_largest_list_of_modules() -> None:
    encoder = Encoder()
    encoder.model.heads = nn.ModuleList([nn.Linear(4, 1)])
    assert transformer_layers(encoder) is encoder.model.layers


def test_the_first_parameters_include_embeddings_but_not_the_final_norm() -> None:
    encoder = Encoder()
    encoder.freeze_parameters(first_parameters(encoder.model, 2))
    assert {name.rpartition(".")[0] for name in trainable(encoder)} == {
        "model.norm",
        *(f"model.layers.{layer}.{part}" for layer in (2, 3) for part in (0, 1, 2)),
    }


def test_embeddings_defined_behind_the_layers_are_found() -> None:
    encoder = Encoder()
    encoder.model.rel_embeddings = nn.Embedding(3, 4)
    encoder.freeze_parameters(first_parameters(encoder.model, 1))
    assert not encoder.model.rel_embeddings.weight.requires_grad


def test_all_layers_are_everything_and_none_is_nothing() -> None:
    encoder = Encoder()
    assert first_parameters(encoder.model, 0) == []
    encoder.freeze_parameters(first_parameters(encoder.model, 4))
    assert not trainable(encoder)


def test_layer_norms_can_stay_trainable() -> None:
    encoder = Encoder()
    encoder.freeze_parameters(first_parameters(encoder.model, 4), freeze_layer_norm=False)
    assert {name.rpartition(".")[0] for name in trainable(encoder)} == {
        "model.norm",
        *(f"model.layers.{layer}.1" for layer in range(4)),
    }


@pytest.mark.parametrize("freeze_layer_norm", [True, False])
def test_frozen_modules_stay_in_evaluation_mode(freeze_layer_norm: bool) -> None:
    encoder = Encoder()
    encoder.freeze_parameters(first_parameters(encoder.model, 2), freeze_layer_norm)
    for parent in (encoder, nn.Sequential(encoder)):
        parent.train()
        model = encoder.model
        assert not any(module.training for module in (model.embed, model.drop, *model.layers[:2]))
        assert not any(module.training for layer in model.layers[:2] for module in layer)
        assert all(module.training for module in (encoder, model.norm, model.last_drop, *model.layers[2], *model.layers[3]))
    encoder.eval()
    assert not any(module.training for module in encoder.modules())


def test_statistics_of_a_frozen_batch_norm_do_not_move() -> None:
    encoder = Encoder()
    encoder.freeze_parameters(first_parameters(encoder.model, 1))
    encoder.train()
    for layer in encoder.model.layers[:2]:
        layer(torch.randn(8, 4))
    assert [layer[2].num_batches_tracked.item() for layer in encoder.model.layers] == [0, 1, 0, 0]
