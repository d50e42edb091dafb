import torch

from mmkit.modules.layers import LayerScale


def test_every_channel_has_its_factor() -> None:
    scale = LayerScale(3, init=0.5)
    with torch.no_grad():
        scale.gamma[1] = 2.0
    assert scale(torch.ones(2, 3)).tolist() == [[0.5, 2.0, 0.5]] * 2
