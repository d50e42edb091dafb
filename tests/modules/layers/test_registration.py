import pytest
from hydra_zen import instantiate
from torch import nn

from mmkit.conf import external_store
from mmkit.modules import layers


ARGUMENTS = {
    "Attention": {"dim": 4, "num_heads": 2},
    "ConvEmbedding": {"dim": 4, "channels": [2]},
    "FeedForward": {"dim": 4},
    "LayerScale": {"dim": 4},
    "MLP": {"in_dim": 4},
    "PatchEmbedding": {"dim": 4},
    "Perceiver": {"dim": 4, "num_heads": 2, "hidden_steps": 3},
    "SequenceAttention": {"dim": 4, "num_heads": 2},
    "SequenceBlock": {"dim": 4, "num_heads": 2},
    "AttentionPool": {"dim": 8},
    "TransformerBlock": {"dim": 4, "num_heads": 2},
}


@pytest.mark.parametrize("name", layers.__all__)
def test_every_public_layer_is_a_config(name: str) -> None:
    layer = instantiate(external_store["modules/layers", name], **ARGUMENTS.get(name, {}))
    assert isinstance(layer, nn.Module)
    assert type(layer) is getattr(layers, name)
