"""Gated attention to an encoder's output."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkit.models.mega import MegaConfig
from mmkit.models.mega.cache_layer import MegaCacheLayer
from mmkit.models.mega.cross_attention import GatedCrossAttention
from tests.models.mega.tiny import DECODER, SIZES, features, strengthen


CROSS = {**DECODER, "add_cross_attention": True}


# Shapes: B batch, L positions, S source positions, D hidden size.
def layer_of(**config: Any) -> GatedCrossAttention:
    layer = GatedCrossAttention(MegaConfig(**{**SIZES, **CROSS, **config})).double().eval()
    strengthen(layer)
    return layer


def cache_after(length: int, mask_BL: Tensor | None = None) -> MegaCacheLayer:
    """A cache in which self-attention has counted ``length`` positions."""
    cache = MegaCacheLayer()
    count(cache, length, mask_BL)
    return cache


def count(cache: MegaCacheLayer, length: int, mask_BL: Tensor | None) -> None:
    cache.attention.append(torch.zeros(2, length, 4), torch.zeros(2, length, 12), mask_BL)


def test_the_output_is_that_of_a_loop_over_pairs():
    layer, x_BLD, memory_BSD = layer_of(), features(1, 3), features(1, 5, seed=5)
    y_LD, weights_LS = naive(layer, x_BLD, memory_BSD)
    y_BLD, weights_BLS = layer(x_BLD, memory_BSD, output_attentions=True)
    torch.testing.assert_close(y_BLD[0], y_LD)
    torch.testing.assert_close(weights_BLS[0], weights_LS)


def naive(layer: GatedCrossAttention, x_BLD: Tensor, memory_BSD: Tensor) -> tuple[Tensor, Tensor]:
    update, gate, q = layer.q_proj(layer.norm(x_BLD))[0].split(layer.widths, dim=-1)
    k, v = layer.k_proj(memory_BSD)[0], layer.v_proj(memory_BSD)[0]
    scores = torch.empty(len(q), len(k), dtype=torch.float64)
    for t in range(len(q)):
        for s in range(len(k)):
            scores[t, s] = q[t] @ k[s] / q.shape[1] ** 0.5 + layer.rel_pos_bias.by_distance(s - t, s - t)[0]
    weights = scores.exp() / scores.exp().sum(1, keepdim=True)
    candidate = layer.h_proj((weights @ (v * v.sigmoid())) * gate * gate.sigmoid())
    candidate, update = candidate * candidate.sigmoid(), update.sigmoid()
    return update * candidate + (1 - update) * x_BLD[0], weights


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    length, source = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    cuts = sorted(draw(st.sets(st.integers(1, length - 1)))) if length > 1 else []
    return {
        "config": {
            "attention_activation": draw(st.sampled_from(["softmax", "laplace", "relu2"])),
            "relative_positional_bias": draw(st.sampled_from(["rotary", "simple"])),
        },
        "steps": [end - start for start, end in zip([0, *cuts], [*cuts, length], strict=True)],
        "source": source,
        "source_mask": draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=2 * source, max_size=2 * source))),
        "pads": draw(st.one_of(st.none(), st.lists(st.integers(0, length), min_size=2, max_size=2))),
        "gradients": draw(st.booleans()),
    }


@settings(max_examples=80, deadline=None)
@given(calls())
def test_steps_of_any_length_give_what_one_gives(call: dict[str, Any]):
    steps, length = call["steps"], sum(call["steps"])
    layer, x_BLD, memory_BSD = layer_of(**call["config"]), features(2, length), features(2, call["source"], seed=5)
    source_mask = None if call["source_mask"] is None else torch.tensor(call["source_mask"]).view(2, -1)
    mask_BL = None if call["pads"] is None else torch.arange(length) >= torch.tensor(call["pads"])[:, None]
    with torch.set_grad_enabled(call["gradients"]):
        full_BLD = layer(x_BLD, memory_BSD, source_mask, mask_BL=mask_BL)[0]
        cache, pieces, start = MegaCacheLayer(), [], 0
        for step in steps:
            part = slice(start, start + step)
            step_mask = None if mask_BL is None else mask_BL[:, part]
            count(cache, step, step_mask)
            memory = memory_BSD if start == 0 else None
            pieces.append(layer(x_BLD[:, part], memory, source_mask, cache, mask_BL=step_mask)[0])
            start += step
    real_BL = torch.ones(2, length, dtype=torch.bool) if mask_BL is None else mask_BL
    torch.testing.assert_close(torch.cat(pieces, dim=1)[real_BL], full_BLD[real_BL], rtol=1e-9, atol=1e-9)


def test_positions_are_counted_from_the_first_real_one():
    layer, x_BLD, memory_BSD = layer_of(), features(2, 6), features(2, 5, seed=5)
    mask_BL = torch.arange(6) >= torch.tensor([[0], [4]])
    padded = layer(x_BLD, memory_BSD, mask_BL=mask_BL)[0]
    torch.testing.assert_close(padded[1:, 4:], layer(x_BLD[1:, 4:], memory_BSD[1:])[0])


def test_a_source_of_pads_alone_gives_finite_outputs_and_gradients():
    layer, x_BLD = layer_of(), features(2, 3)
    layer(x_BLD, features(2, 4), torch.zeros(2, 4, dtype=torch.bool))[0].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters() if parameter.grad is not None)


def test_the_projected_source_is_kept():
    layer, cache = layer_of(), cache_after(2)
    layer(features(2, 2), features(2, 5), None, cache)
    assert cache.cross.keys is not None
    assert cache.cross.keys.shape == (2, 5, SIZES["shared_representation_size"])
    assert cache.cross.values is not None
    assert cache.cross.values.shape == (2, 5, SIZES["hidden_size"])


def test_its_mask_is_kept_too():
    layer, mask_BS = layer_of(), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    cache = cache_after(2)
    layer(features(2, 2), features(2, 5), mask_BS, cache)
    count(cache, 1, None)
    weights_BLS = layer(features(2, 1), None, None, cache, output_attentions=True)[1]
    assert weights_BLS[1, 0, 3:].eq(0).all()
    assert weights_BLS[0].ne(0).all()


@pytest.mark.parametrize("cache", [None, "empty"], ids=["no cache", "empty cache"])
def test_a_missing_source_is_reported(cache: str | None):
    with pytest.raises(ValueError, match=r"got no encoder_hidden_states\. Give them"):
        layer_of()(features(2, 2), None, None, None if cache is None else cache_after(2))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("length", "sources"), [(20, 33), (33, 20)])
def test_distances_beyond_the_simple_table_are_refused_with_and_without_padding(length, sources, padded):
    layer = layer_of(relative_positional_bias="simple")
    mask_BL = torch.arange(length).expand(2, length) >= 4 if padded else None
    with pytest.raises(ValueError, match="distances below 32; 32 was asked for"):
        layer(features(2, length), features(2, sources), mask_BL=mask_BL)
    layer(features(2, 20), features(2, 32), mask_BL=mask_BL[:, :20] if padded else None)
