import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmkit.modules.layers.sequence import SequenceBlock, init_sequence_weights
from mmkit.modules.layers.sequence.attention import SequenceAttention
from mmkit.modules.layers.sequence.block import Residual
from mmkit.modules.layers.sequence.cache import LayerCache


# Shapes: B batch, T positions, S positions of the memory, D width, M width of the memory.

DIM, HEADS, INNER, MEMORY = 8, 2, 12, 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shaken(module: nn.Module) -> nn.Module:
    """All parameters random: norms, biases and head scales too."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.double().eval().parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
    return module


def layers_of(block: SequenceBlock) -> tuple[Residual, Residual | None, Residual]:
    assert block.self_attention is not None
    return block.self_attention, block.cross_attention, block.feed_forward


def copy(target: nn.Module, source: nn.Module) -> None:
    target.load_state_dict({name: value for name, value in source.state_dict().items() if name in target.state_dict()})


@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_an_encoder_block_is_torchs(norm_position: str, padded: bool) -> None:
    torch_layer = nn.TransformerEncoderLayer(
        DIM, HEADS, INNER, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_position == "pre"
    )
    shaken(torch_layer)
    block = SequenceBlock(DIM, HEADS, ffn_hidden_size=INNER, norm_position=norm_position).double()
    attention, _, feed_forward = layers_of(block)
    attention.layer.qkv.weight.data, attention.layer.qkv.bias.data = (
        torch_layer.self_attn.in_proj_weight.data,
        torch_layer.self_attn.in_proj_bias.data,
    )
    copy(attention.layer.output, torch_layer.self_attn.out_proj)
    copy(attention.norm, torch_layer.norm1)
    copy(feed_forward.layer.input, torch_layer.linear1)
    copy(feed_forward.layer.output, torch_layer.linear2)
    copy(feed_forward.norm, torch_layer.norm2)
    x, mask = random(2, 5, DIM), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    with torch.enable_grad():  # torch's own fast path is another program
        expected = torch_layer(x, src_key_padding_mask=~mask if padded else None)
    given = block(x, mask if padded else None)
    keep = mask if padded else torch.ones_like(mask)
    torch.testing.assert_close(given[keep], expected[keep])


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_a_decoder_block_is_torchs(norm_position: str) -> None:
    torch_layer = nn.TransformerDecoderLayer(
        DIM, HEADS, INNER, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_position == "pre"
    )
    shaken(torch_layer)
    block = SequenceBlock(
        DIM, HEADS, cross_attention=True, causal=True, ffn_hidden_size=INNER, norm_position=norm_position
    ).double()
    attention, cross, feed_forward = layers_of(block)
    assert cross is not None
    own, other = torch_layer.self_attn, torch_layer.multihead_attn
    attention.layer.qkv.weight.data, attention.layer.qkv.bias.data = own.in_proj_weight.data, own.in_proj_bias.data
    for layer, part in ((cross.layer.query, slice(0, DIM)), (cross.layer.key_value, slice(DIM, None))):
        layer.weight.data, layer.bias.data = other.in_proj_weight.data[part], other.in_proj_bias.data[part]
    copy(attention.layer.output, own.out_proj)
    copy(cross.layer.output, other.out_proj)
    copy(feed_forward.layer.input, torch_layer.linear1)
    copy(feed_forward.layer.output, torch_layer.linear2)
    for residual, norm in ((attention, torch_layer.norm1), (cross, torch_layer.norm2), (feed_forward, torch_layer.norm3)):
        copy(residual.norm, norm)
    x, memory, mask = random(2, 5, DIM), random(2, 4, DIM, seed=1), torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0]]).bool()
    expected = torch_layer(
        x, memory, tgt_mask=torch.ones(5, 5, dtype=torch.bool).triu(1), memory_key_padding_mask=~mask, tgt_is_causal=True
    )
    torch.testing.assert_close(block(x, None, memory, mask), expected)


@pytest.mark.parametrize("normalization", ["layernorm", "rmsnorm"])
def test_a_normformer_block_is_its_equations(normalization: str) -> None:
    block = SequenceBlock(DIM, HEADS, normalization=normalization, norm_position="normformer", ffn_hidden_size=INNER)
    shaken(block)
    attention, _, feed_forward = layers_of(block)
    x = random(2, 3, DIM)
    heads = SequenceAttention(DIM, HEADS).double()  # without head scales: they are applied below
    heads.qkv, heads.output = attention.layer.qkv, nn.Identity()
    scaled = heads(attention.norm(x)) * attention.layer.head_scale.repeat_interleave(DIM // HEADS)
    x1 = x + attention.norm_after(attention.layer.output(scaled))
    inner = torch.nn.functional.gelu(feed_forward.layer.input(feed_forward.norm(x1)))
    expected = x1 + feed_forward.layer.output(feed_forward.layer.norm(inner))
    torch.testing.assert_close(block(x), expected)
    kinds = [type(module).__name__ for module in (attention.norm_after, feed_forward.layer.norm, feed_forward.norm_after)]
    assert kinds == [{"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}[normalization]] * 2 + ["Identity"]


@pytest.mark.parametrize("norm_position", ["pre", "post", "normformer"])
@pytest.mark.parametrize("position", [None, "rotary", "alibi"])
@settings(max_examples=10)
@given(steps=st.lists(st.integers(1, 3), min_size=1, max_size=4), front=st.integers(0, 2), seed=st.integers(0, 99))
def test_steps_with_a_cache_give_what_the_whole_sequence_gives(
    position: str | None, norm_position: str, steps: list[int], front: int, seed: int
) -> None:
    options = {"position": position, "norm_position": norm_position, "causal": True, "cross_attention": True}
    block = shaken(SequenceBlock(DIM, HEADS, memory_dim=MEMORY, **options))
    x, memory = random(2, sum(steps), DIM, seed=seed), random(2, 3, MEMORY, seed=seed)
    mask, memory_mask = torch.ones(2, sum(steps)), torch.tensor([[1, 1, 1], [0, 1, 1]])
    mask[1, : min(front, sum(steps) - 1)] = 0
    cache, pieces, end = LayerCache(), [], 0
    for step in steps:
        start, end = end, end + step
        pieces.append(block(x[:, start:end], mask[:, :end], memory if start == 0 else None, memory_mask, cache))
    real = mask.bool()
    torch.testing.assert_close(torch.cat(pieces, dim=1)[real], block(x, mask, memory, memory_mask)[real])


def test_blocks_that_share_a_context_give_what_each_gives_alone() -> None:
    block, x, mask = shaken(SequenceBlock(DIM, HEADS, position="rotary")), random(2, 3, DIM), torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert torch.equal(block(x, context=block.context(x, mask)), block(x, mask))  # pyright: ignore


def test_dropout_drops_what_branches_add_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    block = SequenceBlock(DIM, HEADS, self_attention=False, dropout=0.5).train()
    x = torch.zeros(400, 5, DIM)
    nn.init.constant_(block.feed_forward.layer.output.bias, 1.0)
    nn.init.zeros_(block.feed_forward.layer.output.weight)
    added = block(x)
    assert set(added.unique().tolist()) == {0.0, 2.0}
    assert added.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("norm_position", "factor"), [("pre", 1 / math.sqrt(6)), ("normformer", 1 / math.sqrt(6)), ("post", 1)])
def test_weights_start_as_in_gpt_2(norm_position: str, factor: float) -> None:
    torch.manual_seed(0)
    blocks = nn.ModuleList(SequenceBlock(64, 4, cross_attention=True, norm_position=norm_position) for _ in range(2))
    init_sequence_weights(blocks)
    for name, parameter in blocks.named_parameters():
        if parameter.ndim == 2:
            expected = 0.02 * (factor if "output" in name else 1)
            assert parameter.std().item() == pytest.approx(expected, rel=0.06)
        else:
            ones = name.endswith(("norm.weight", "norm_after.weight", "head_scale"))
            assert torch.equal(parameter, torch.full_like(parameter, float(ones)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm_position": "before"}, "Unknown norm_position 'before'. Allowed: pre, post, normformer"),
        ({"normalization": "batch"}, "Unknown normalization 'batch'"),
        ({"activation": "mish"}, "Unknown activation 'mish'"),
        ({"position": "learned"}, "Unknown position 'learned'"),
    ],
)
def test_unknown_names_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceBlock(DIM, HEADS, **options)
