"""One layer of gated attention: its equations, and any number of positions a step."""

import contextlib
import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkit.models.mega import MegaCache, MegaConfig
from mmkit.models.mega.cache_layer import MegaCacheLayer
from mmkit.models.mega.gated_attention import MovingAverageGatedAttention
from tests.models.mega.tiny import DECODER, SIZES, features, strengthen


# Shapes: B batch, L positions, D hidden size.
def layer_of(**config: Any) -> MovingAverageGatedAttention:
    layer = MovingAverageGatedAttention(MegaConfig(**{**SIZES, **config})).double().eval()
    strengthen(layer)
    return layer


def chunking(size: int | None) -> dict[str, Any]:
    return {} if size is None else {"use_chunking": True, "chunk_size": size}


def in_steps(
    layer: MovingAverageGatedAttention, cache: MegaCacheLayer, x_BLD: Tensor, steps: list[int], mask_BL: Tensor | None = None
) -> Tensor:
    """The layer's output for pieces of the input, one after another."""
    pieces, start = [], 0
    for length in steps:
        part = slice(start, start + length)
        pieces.append(layer(x_BLD[:, part], None if mask_BL is None else mask_BL[:, part], cache)[0])
        start += length
    return torch.cat(pieces, dim=1)


def test_the_output_follows_the_equations_of_the_paper():
    layer, x_BLD = layer_of(attention_activation="softmax"), features(1, 5)
    y_LD, weights_LL = naive(layer, x_BLD)
    y_BLD, weights_BCTS = layer(x_BLD, output_attentions=True)
    torch.testing.assert_close(y_BLD[0], y_LD)
    torch.testing.assert_close(weights_BCTS[0, 0], weights_LL)


def naive(layer: MovingAverageGatedAttention, x_BLD: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 7 to 14, with a loop over pairs of positions."""
    d, z, h, _ = layer.widths
    normed_LD = layer.norm(x_BLD)[0]
    base = layer.mx_proj(layer.ema_gate(layer.norm(x_BLD))[0][0])
    update, shared, gate, own = base[:, :d], base[:, d : d + z], base[:, d + z : d + z + h], base[:, d + z + h :]
    shared = shared * shared.sigmoid()
    q = shared * layer.qk_weight[0] + layer.qk_bias[0]
    k = shared * layer.qk_weight[1] + layer.qk_bias[1]
    v = layer.v_proj(normed_LD)
    v = v * v.sigmoid()
    length = q.shape[0]
    scores = torch.stack(
        [torch.stack([q[t] @ k[s] / z**0.5 + layer.rel_pos_bias.by_distance(s - t, s - t)[0] for s in range(length)])
         for t in range(length)]
    )  # fmt: skip
    weights = scores.exp() / scores.exp().sum(1, keepdim=True)
    candidate = own + layer.h_proj((weights @ v) * gate * gate.sigmoid())
    candidate = candidate * candidate.sigmoid()
    update = update.sigmoid()
    return update * candidate + (1 - update) * x_BLD[0], weights


@pytest.mark.parametrize("prenorm", [True, False], ids=["norm before", "norm after"])
def test_the_norm_stands_where_the_configuration_says(prenorm: bool):
    layer, x_BLD = layer_of(normalize_before_mega=prenorm, normalization_type="layernorm"), features(2, 4)
    mean_BL = layer(x_BLD)[0].sub(layer.norm.norm.bias).div(layer.norm.norm.weight).mean(-1)
    assert torch.allclose(mean_BL, torch.zeros_like(mean_BL), atol=1e-9) is not prenorm


@pytest.mark.parametrize(
    ("config", "shape"),
    [({}, (2, 1, 7, 7)), (chunking(4), (2, 2, 4, 4)), (chunking(8), (2, 1, 7, 7))],
    ids=["whole", "chunks of 4", "one short chunk"],
)
def test_weights_have_a_matrix_for_each_chunk(config: dict[str, Any], shape: tuple[int, ...]):
    assert layer_of(**config)(features(2, 7), output_attentions=True)[1].shape == shape


def test_a_step_gives_the_weights_of_the_keys_it_sees():
    layer, cache, x_BLD = layer_of(**DECODER), MegaCacheLayer(), features(2, 5)
    full = layer(x_BLD, output_attentions=True)[1]
    layer(x_BLD[:, :4], cache=cache)
    torch.testing.assert_close(layer(x_BLD[:, 4:], cache=cache, output_attentions=True)[1], full[:, :, 4:])


@st.composite
def cached_calls(draw: st.DrawFn) -> dict[str, Any]:
    """A decoder's layer, how its positions are split, and which of them are real."""
    length = draw(st.integers(1, 13))
    cuts = sorted(draw(st.sets(st.integers(1, length - 1)))) if length > 1 else []
    row = st.one_of(
        st.integers(0, length).map(lambda pads: [False] * pads + [True] * (length - pads)),
        st.lists(st.booleans(), min_size=length, max_size=length),
    )
    return {
        "config": {
            "attention_activation": draw(st.sampled_from(["softmax", "laplace", "relu2"])),
            "relative_positional_bias": draw(st.sampled_from(["rotary", "simple"])),
            "truncation": draw(st.sampled_from([None, 1, 3])),
            **chunking(draw(st.sampled_from([None, 1, 3, 4, 16]))),
        },
        "steps": [end - start for start, end in zip([0, *cuts], [*cuts, length], strict=True)],
        "mask": draw(st.one_of(st.none(), st.lists(row, min_size=2, max_size=2))),
        "gradients": draw(st.booleans()),
    }


@settings(max_examples=150, deadline=None)
@given(cached_calls())
def test_steps_of_any_length_give_what_one_gives(call: dict[str, Any]):
    config, steps = call["config"], call["steps"]
    layer, x_BLD = layer_of(**DECODER, **config), features(2, sum(steps))
    mask_BL = None if call["mask"] is None else torch.tensor(call["mask"])
    with contextlib.nullcontext() if call["gradients"] else torch.no_grad():
        cached_BLD = in_steps(layer, MegaCacheLayer(config.get("chunk_size")), x_BLD, steps, mask_BL)
        full_BLD = layer(x_BLD, mask_BL)[0]
    real_BL = torch.ones(2, sum(steps), dtype=torch.bool) if mask_BL is None else mask_BL
    torch.testing.assert_close(cached_BLD[real_BL], full_BLD[real_BL], rtol=1e-9, atol=1e-9)
    assert cached_BLD.isfinite().all()


@settings(max_examples=60, deadline=None)
@given(cached_calls(), st.data())
def test_what_is_taken_back_leaves_no_trace(call: dict[str, Any], data: st.DataObject):
    config, steps = call["config"], call["steps"]
    layer, x_BLD, wrong_BLD = layer_of(**DECODER, **config), features(2, sum(steps)), features(2, sum(steps) + 5, seed=7)
    mask_BL = None if call["mask"] is None else torch.tensor(call["mask"])
    cache, pieces, start = MegaCacheLayer(config.get("chunk_size")), [], 0
    cache.activate_past_recording()
    with contextlib.nullcontext() if call["gradients"] else torch.no_grad():
        for length in steps:
            part = slice(start, start + length)
            extra = data.draw(st.integers(0, 5), label="tokens taken back")
            x_part = torch.cat([x_BLD[:, part], wrong_BLD[:, :extra]], dim=1)
            step_mask = None if mask_BL is None else torch.cat([mask_BL[:, part], mask_BL.new_ones(2, extra)], dim=1)
            pieces.append(layer(x_part, step_mask, cache)[0][:, :length])
            cache.crop(-extra)
            start += length
        full_BLD = layer(x_BLD, mask_BL)[0]
    real_BL = torch.ones(2, sum(steps), dtype=torch.bool) if mask_BL is None else mask_BL
    torch.testing.assert_close(torch.cat(pieces, dim=1)[real_BL], full_BLD[real_BL], rtol=1e-9, atol=1e-9)


def test_a_mask_may_come_in_a_later_step_for_the_first_time():
    layer, x_BLD = layer_of(**DECODER, **chunking(3)), features(2, 8)
    mask_BL = torch.ones(2, 8, dtype=torch.bool)
    mask_BL[1, 6] = False
    cache = MegaCacheLayer(3)
    first, second = layer(x_BLD[:, :4], None, cache)[0], layer(x_BLD[:, 4:], mask_BL[:, 4:], cache)[0]
    torch.testing.assert_close(torch.cat([first, second], 1)[mask_BL], layer(x_BLD, mask_BL)[0][mask_BL])


@pytest.mark.parametrize("size", [None, 4])
def test_gradients_flow_through_cached_steps(size: int | None):
    layer, x_BLD = layer_of(**DECODER, **chunking(size)), features(2, 9).requires_grad_()
    in_steps(layer, MegaCacheLayer(size), x_BLD, [5, 1, 1, 2]).square().sum().backward()
    cached = {name: parameter.grad.clone() for name, parameter in layer.named_parameters()} | {"x": x_BLD.grad.clone()}
    layer.zero_grad()
    x_BLD.grad = None
    layer(x_BLD)[0].square().sum().backward()
    for name, parameter in [*layer.named_parameters(), ("x", x_BLD)]:
        torch.testing.assert_close(cached[name], parameter.grad, msg=name)


def test_a_cached_step_of_training_drops_weights():
    layer = layer_of(**DECODER, attention_probs_dropout_prob=1.0, dropout_prob=0.0, hidden_dropout_prob=0.0)
    without_values = copy.deepcopy(layer)
    for parameter in without_values.v_proj.parameters():
        torch.nn.init.zeros_(parameter)
    dropped = in_steps(layer.train(), MegaCacheLayer(), features(1, 4), [3, 1])
    torch.testing.assert_close(dropped, in_steps(without_values, MegaCacheLayer(), features(1, 4), [3, 1]))


def test_parameters_that_are_no_matrices_are_named():
    layer = layer_of()
    assert layer.no_weight_decay() == {"qk_weight", "qk_bias"}
    assert layer.no_weight_decay() <= dict(layer.named_parameters(recurse=False)).keys()


def test_scales_start_small_and_offsets_at_zero():
    layer = MovingAverageGatedAttention(MegaConfig(shared_representation_size=512))
    assert layer.qk_weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert not layer.qk_bias.any()


def test_a_cache_of_a_model_has_a_layer_for_each_of_its_layers():
    config = MegaConfig(**SIZES, **DECODER, **chunking(4))
    assert [layer.get_seq_length() for layer in MegaCache(config).layers] == [0, 0]
