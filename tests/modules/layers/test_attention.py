import numpy as np
import pytest
import torch
from torch import Tensor

from mmkit.modules.layers import Attention


def naive_attention(layer: Attention, x_BND: Tensor, mask_BN: Tensor | None) -> np.ndarray:
    """Loop over examples, heads and queries in float64."""
    weight, bias = layer.qkv.weight.detach().numpy(), layer.qkv.bias.detach().numpy()
    x, (batch, num, dim) = x_BND.numpy(), x_BND.shape
    size = dim // layer.num_heads
    mixed = np.zeros_like(x)
    for b in range(batch):
        q, k, v = np.split(x[b] @ weight.T + bias, 3, axis=1)
        for h in range(layer.num_heads):
            part = slice(h * size, (h + 1) * size)
            for i in range(num):
                seen = [j for j in range(num) if (mask_BN is None or mask_BN[b, j]) and not (layer.causal and j > i)]
                scores = np.exp([q[i, part] @ k[j, part] / size**0.5 for j in seen])
                mixed[b, i, part] = sum(s * v[j, part] for s, j in zip(scores, seen, strict=True)) / scores.sum()
    return mixed @ layer.proj.weight.detach().numpy().T + layer.proj.bias.detach().numpy()


@pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
@pytest.mark.parametrize("mask", [None, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]]], ids=["all", "masked"])
def test_attention_equals_a_naive_loop(causal: bool, mask: list | None) -> None:
    layer = Attention(6, 2, causal=causal).double()
    x_BND = torch.randn(3, 4, 6, dtype=torch.float64)
    mask_BN = None if mask is None else torch.tensor(mask)
    np.testing.assert_allclose(layer(x_BND, mask_BN).detach(), naive_attention(layer, x_BND, mask_BN), atol=1e-12)


@pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
def test_an_example_without_real_tokens_gives_finite_numbers(causal: bool) -> None:
    layer, x_BND = Attention(4, 2, causal=causal), torch.randn(2, 2, 4, requires_grad=True)
    out = layer(x_BND, torch.tensor([[0, 1], [0, 0]]))
    out.sum().backward()
    assert out.isfinite().all()
    assert x_BND.grad is not None
    assert x_BND.grad.isfinite().all()


@pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
def test_padding_on_the_left_does_not_change_real_tokens(causal: bool) -> None:
    layer, x_BND = Attention(4, 2, causal=causal).double(), torch.randn(1, 5, 4, dtype=torch.float64)
    assert torch.allclose(layer(x_BND, torch.tensor([[0, 0, 1, 1, 1]]))[:, 2:], layer(x_BND[:, 2:]))


def test_dropout_acts_only_while_training() -> None:
    layer, x = Attention(4, 2, dropout=0.5), torch.randn(2, 8, 4)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_heads_must_divide_the_embedding() -> None:
    with pytest.raises(ValueError, match="num_heads=4 must divide the embedding size 6"):
        Attention(6, 4)
