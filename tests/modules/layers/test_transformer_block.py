import torch
import torch.nn.functional as F

from mmkit.modules.layers import TransformerBlock


def test_a_block_adds_normalised_attention_and_mlp() -> None:
    block = TransformerBlock(8, 2).double()
    x, mask = torch.randn(2, 3, 8, dtype=torch.float64), torch.tensor([[1, 1, 1], [1, 1, 0]])
    after_attention = x + block.attn(F.layer_norm(x, [8], block.norm1.weight, block.norm1.bias, 1e-6), mask)
    expected = after_attention + block.mlp(F.layer_norm(after_attention, [8], block.norm2.weight, block.norm2.bias, 1e-6))
    assert torch.allclose(block(x, mask), expected)


def test_a_layer_scale_of_zero_leaves_the_tokens_alone() -> None:
    x = torch.randn(2, 3, 8)
    assert torch.equal(TransformerBlock(8, 2, layer_scale=0.0)(x), x)


def test_drop_path_hands_some_examples_on() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3, 8)
    unchanged = (TransformerBlock(8, 2, drop_path=0.9)(x) == x).all(dim=(1, 2))
    assert 0 < unchanged.sum() < 64
    assert not (TransformerBlock(8, 2, drop_path=0.9).eval()(x) == x).all(dim=(1, 2)).any()
