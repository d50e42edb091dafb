"""The transformer decoder against itself without a cache, and against transformers' GPT-2."""

import copy

import pytest
import torch
from torch import Tensor

from mmkit.modules.decoders import TransformerDecoder


# Shapes: B batch, T positions, S memory positions, M their size.

OPTIONS = {
    "learned": {},
    "rotary": {"position_embedding": "rotary", "norm_position": "post"},
    "alibi": {"position_embedding": "alibi", "normalization": "rmsnorm", "activation": "swiglu"},
    "none": {"position_embedding": "none", "norm_position": "normformer", "activation": "geglu", "tie_word_embeddings": False},
}
MASKS = {
    "no padding": None,
    "left padding": [[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]],
    "right padding": [[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1]],
    "gaps": [[1, 1, 0, 0, 1, 1, 1], [0, 1, 1, 0, 1, 1, 1]],
}


def decoder(**options) -> TransformerDecoder:
    torch.manual_seed(0)
    model = TransformerDecoder(**({"vocab_size": 11, "hidden_size": 16, "num_layers": 2, "memory_size": 6} | options)).eval()
    with torch.no_grad():  # larger weights, so that differences show
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return model


def inputs(batch: int = 2, length: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids_BT = torch.randint(11, (batch, length), generator=generator)
    memory_BSM = torch.randn(batch, 5, 6, generator=generator)
    memory_mask_BS = torch.arange(5) < torch.tensor([3, 5])[torch.arange(batch) % 2].unsqueeze(1)
    return ids_BT, memory_BSM, memory_mask_BS


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("steps", [[1] * 7, [3, 1, 2, 1]], ids=["token by token", "in parts"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_steps_with_a_cache_equal_the_whole(options, steps, mask):
    model, (ids_BT, memory_BSM, memory_mask_BS) = decoder(**options), inputs()
    mask_BT = None if mask is None else torch.tensor(mask)
    with torch.no_grad():
        whole = model(ids_BT, mask_BT, memory_BSM, memory_mask_BS).logits
        cache, parts, start = None, [], 0
        for length in steps:
            end = start + length
            seen = None if mask_BT is None else mask_BT[:, :end]
            output = model(ids_BT[:, start:end], seen, memory_BSM, memory_mask_BS, past_key_values=cache, use_cache=True)
            cache, start = output.past_key_values, end
            parts.append(output.logits)
    real = torch.ones_like(ids_BT, dtype=torch.bool) if mask_BT is None else mask_BT.bool()
    torch.testing.assert_close(torch.cat(parts, dim=1)[real], whole[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_real_position(options, side):
    model, (ids_BT, memory_BSM, memory_mask_BS) = decoder(**options), inputs(length=5)
    padding = torch.full((2, 3), 9)
    padded = torch.cat([padding, ids_BT] if side == "left" else [ids_BT, padding], dim=1)
    mask = torch.cat([0 * padding, ids_BT * 0 + 1] if side == "left" else [ids_BT * 0 + 1, 0 * padding], dim=1)
    with torch.no_grad():
        expected = model(ids_BT, None, memory_BSM, memory_mask_BS).logits
        logits = model(padded, mask, memory_BSM, memory_mask_BS).logits[mask.bool()].view_as(expected)
        unmasked = model(padded, None, memory_BSM, memory_mask_BS).logits[:, :5]
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    if side == "right":  # what needs_attention_mask=False promises
        torch.testing.assert_close(unmasked, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_position_depends_on_earlier_tokens_and_the_real_memory_only(options):
    model, (ids_BT, memory_BSM, memory_mask_BS) = decoder(**options), inputs()
    later, hidden, seen = ids_BT.clone(), memory_BSM.clone(), memory_BSM.clone()
    later[:, 4] = (later[:, 4] + 1) % 11
    hidden[0, 3:] += 1
    seen[0, 2] += 1
    with torch.no_grad():
        logits = model(ids_BT, None, memory_BSM, memory_mask_BS).logits
        changed = model(later, None, memory_BSM, memory_mask_BS).logits
        torch.testing.assert_close(changed[:, :4], logits[:, :4])
        assert not torch.allclose(changed[:, 4], logits[:, 4], atol=1e-3)
        torch.testing.assert_close(model(ids_BT, None, hidden, memory_mask_BS).logits, logits)
        assert not torch.allclose(model(ids_BT, None, seen, memory_mask_BS).logits[0], logits[0], atol=1e-3)


def test_the_memory_is_projected_once_and_need_not_be_given_again():
    model, (ids_BT, memory_BSM, memory_mask_BS) = decoder(), inputs()
    calls = []
    for block in model.blocks:
        block.cross_attention.layer.key_value.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        whole = model(ids_BT, None, memory_BSM, memory_mask_BS).logits
        calls.clear()
        output = model(ids_BT[:, :1], None, memory_BSM, memory_mask_BS, use_cache=True)
        for step in range(1, 7):
            output = model(ids_BT[:, step : step + 1], past_key_values=output.past_key_values, use_cache=True)
            torch.testing.assert_close(output.logits[:, 0], whole[:, step], rtol=1e-5, atol=1e-5)
    assert len(calls) == len(model.blocks)


def test_reordered_rows_continue_as_if_they_had_always_stood_there():
    model, (ids_BT, memory_BSM, memory_mask_BS) = decoder(), inputs()
    rows = torch.tensor([1, 1, 0])
    with torch.no_grad():
        cache = model(ids_BT[:, :4], None, memory_BSM, memory_mask_BS, use_cache=True).past_key_values
        cache.reorder_cache(rows)
        assert cache.get_seq_length() == 4
        continued = model(ids_BT[rows, 4:], past_key_values=cache, use_cache=True).logits
        expected = model(ids_BT[rows], None, memory_BSM[rows], memory_mask_BS[rows]).logits[:, 4:]
    torch.testing.assert_close(continued, expected, rtol=1e-5, atol=1e-5)


def test_gradients_through_a_cache_equal_those_without():
    model, (ids_BT, memory_BSM, memory_mask_BS) = decoder(), inputs()
    model(ids_BT, None, memory_BSM, memory_mask_BS).logits.square().mean().backward()
    expected = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    first = model(ids_BT[:, :4], None, memory_BSM, memory_mask_BS, use_cache=True)
    second = model(ids_BT[:, 4:], past_key_values=first.past_key_values, use_cache=True)
    torch.cat([first.logits, second.logits], dim=1).square().mean().backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("width", [0.02, 0.2])
def test_weights_begin_as_wide_as_asked(width):
    model = TransformerDecoder(500, 64, num_layers=1, initializer_range=width)
    for weight in (model.embedding.weight, model.positions.weight, model.blocks[0].self_attention.layer.qkv.weight):
        assert float(weight.detach().std()) == pytest.approx(width, rel=0.05)


def test_gradient_checkpointing_changes_no_gradient():
    (ids_BT, memory_BSM, memory_mask_BS), gradients = inputs(), []
    for recomputes in (False, True):
        model = decoder(gradient_checkpointing=recomputes, dropout=0.0).train()
        model(ids_BT, None, memory_BSM, memory_mask_BS).logits.square().mean().backward()
        gradients.append([weight.grad for weight in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


def copy_of_gpt2(gpt2, memory_size: int) -> TransformerDecoder:
    """GPT-2 with cross-attention, as a TransformerDecoder."""
    config = gpt2.config
    model = TransformerDecoder(
        config.vocab_size, config.n_embd, config.n_layer, config.n_head, memory_size, max_positions=config.n_positions
    )
    source = {name.removeprefix("transformer."): value for name, value in gpt2.state_dict().items()}
    target = {"embedding.weight": source["wte.weight"], "positions.weight": source["wpe.weight"]}
    target |= {f"norm.{kind}": source[f"ln_f.{kind}"] for kind in ("weight", "bias")}
    names = {
        "self_attention.norm": "ln_1",
        "self_attention.layer.qkv": "attn.c_attn",
        "self_attention.layer.output": "attn.c_proj",
        "cross_attention.norm": "ln_cross_attn",
        "cross_attention.layer.query": "crossattention.q_attn",
        "cross_attention.layer.key_value": "crossattention.c_attn",
        "cross_attention.layer.output": "crossattention.c_proj",
        "feed_forward.norm": "ln_2",
        "feed_forward.layer.input": "mlp.c_fc",
        "feed_forward.layer.output": "mlp.c_proj",
    }
    for layer in range(config.n_layer):
        for own, other in names.items():
            for kind in ("weight", "bias"):
                value = source[f"h.{layer}.{other}.{kind}"]
                target[f"blocks.{layer}.{own}.{kind}"] = value.T if value.ndim == 2 else value
    model.load_state_dict(target)
    return model.eval()


def test_it_is_gpt2_with_cross_attention():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=11, n_embd=16, n_layer=2, n_head=4, n_positions=16, add_cross_attention=True, activation_function="gelu"
    )
    gpt2 = transformers.GPT2LMHeadModel(config).eval()
    for weight in gpt2.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model = copy_of_gpt2(gpt2, memory_size=16)
    ids_BT, _, memory_mask_BS = inputs()
    memory_BSM = torch.randn(2, 5, 16)
    with torch.no_grad():
        expected = gpt2(ids_BT, encoder_hidden_states=memory_BSM, encoder_attention_mask=memory_mask_BS.long()).logits
        logits = model(ids_BT, None, memory_BSM, memory_mask_BS).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_it_runs_on_the_meta_device_under_autocast_copied_and_compiled():
    ids_BT, memory_BSM, memory_mask_BS = inputs()
    model = decoder()
    with torch.no_grad():
        expected = model(ids_BT, None, memory_BSM, memory_mask_BS).logits
        again = copy.deepcopy(model)
        again.load_state_dict(model.state_dict())
        assert torch.equal(again(ids_BT, None, memory_BSM, memory_mask_BS).logits, expected)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(ids_BT, None, memory_BSM, memory_mask_BS).logits, expected)
        with torch.autocast("cpu", torch.bfloat16):
            halved = model(ids_BT, None, memory_BSM, memory_mask_BS).logits
            stepped = model(ids_BT[:, :4], None, memory_BSM, memory_mask_BS, use_cache=True)
            stepped = model(ids_BT[:, 4:], past_key_values=stepped.past_key_values, use_cache=True)
        assert halved.dtype == torch.bfloat16
        torch.testing.assert_close(halved.float(), expected, rtol=0.1, atol=0.1)
        torch.testing.assert_close(stepped.logits, halved[:, 4:], rtol=0.1, atol=0.1)
    with torch.device("meta"):
        model = TransformerDecoder(11, 16, 1)
        output = model(torch.zeros(2, 3, dtype=torch.long), None, torch.zeros(2, 5, 16), use_cache=True)
    assert output.logits.shape == (2, 3, 11)
    assert output.past_key_values.get_seq_length() == 3


def test_what_cannot_work_is_refused():
    ids_BT, memory_BSM, _ = inputs()
    with pytest.raises(ValueError, match=r"attends to encoder_hidden_states, \(B, S, memory_size\), and got none"):
        decoder()(ids_BT)
    with pytest.raises(ValueError, match=r"size 6, the decoder has memory_size=16\. Set memory_size=6"):
        decoder(memory_size=None)(ids_BT, None, memory_BSM)
    with pytest.raises(ValueError, match=r"Unknown position_embedding 'sine'\. Allowed: learned, rotary, alibi, none\."):
        decoder(position_embedding="sine")
    with pytest.raises(ValueError, match=r"7 positions is longer than max_positions=5"):
        decoder(max_positions=5)(ids_BT, None, memory_BSM)
