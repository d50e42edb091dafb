"""Mega in bf16: the moving average stays in single precision, the rest follows."""

import pytest
import torch

from mmkit.models.mega import MegaConfig, MegaForCausalLM, MegaForMaskedLM
from tests.models.mega.tiny import DECODER, SIZES, strengthen, tokens


SETTINGS = pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attention_activation": "laplace"},
        {"attention_activation": "relu2", "relative_positional_bias": "simple"},
        {"use_chunking": True, "chunk_size": 4, "normalization_type": "layernorm"},
        {"normalization_type": "batchnorm", "truncation": 3},
        {"normalization_type": "rmsnorm", "normalize_before_mega": False, "normalize_before_ffn": False},
        DECODER,
        {**DECODER, "use_chunking": True, "chunk_size": 4, "attention_activation": "relu2"},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()) or "default",
)
MASKS = {
    "whole": None,
    "right": torch.tensor([[1] * 10, [1] * 7 + [0] * 3]),
    "left": torch.tensor([[1] * 10, [0] * 3 + [1] * 7]),
}


def language_model(settings):
    model = (MegaForCausalLM if "is_decoder" in settings else MegaForMaskedLM)(MegaConfig(**{**SIZES, **settings}))
    strengthen(model)
    return model


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@SETTINGS
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_results_and_gradients_are_near_those_of_fp32(settings, mask):
    model, ids = language_model(settings).eval(), tokens(2, 10)
    expected = model(ids, attention_mask=mask, labels=ids)
    expected.loss.backward()
    wanted = gradient(model)
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = model(ids, attention_mask=mask, labels=ids)
    ours.loss.backward()
    real = slice(None) if mask is None else mask.bool()
    assert (ours.logits.float() - expected.logits)[real].abs().max() < 0.05 * expected.logits[real].abs().max()
    assert ours.loss.item() == pytest.approx(expected.loss.item(), rel=0.02)
    assert (gradient(model) - wanted).norm() < 0.05 * wanted.norm()


@SETTINGS
def test_training_runs_with_dropout(settings):
    model, ids = language_model(settings).train(), tokens(2, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(ids, attention_mask=MASKS["left"], labels=ids).loss
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@SETTINGS
@pytest.mark.parametrize("length", [1, 10, 600])
def test_the_moving_average_is_that_of_fp32(settings, length):
    ema = language_model(settings).mega.layers[0].mega_layer.ema_gate
    x = torch.randn(2, length, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, kernel = ema(x)[0], ema.kernel(length)
    assert (ours.dtype, kernel.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(kernel, ema.kernel(length))
    assert torch.equal(ours, ema(x.float())[0].bfloat16())


@pytest.mark.parametrize("settings", [DECODER, {**DECODER, "use_chunking": True, "chunk_size": 4}], ids=["whole", "chunked"])
def test_the_state_of_the_moving_average_stays_in_fp32(settings):
    model, ids = language_model(settings).eval(), tokens(2, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cache = model(ids[:, :6], use_cache=True).past_key_values
        model(ids[:, 6:7], past_key_values=cache)
    assert [layer[2].dtype for layer in cache.to_legacy_cache()] == [torch.float32] * 2


@SETTINGS
def test_a_model_with_bf16_weights_runs(settings):
    model, ids = language_model(settings).eval(), tokens(2, 10)
    expected = model(ids).logits
    ours = model.bfloat16()(ids).logits
    assert ours.dtype == torch.bfloat16
    assert (ours.float() - expected).abs().max() < 0.2 * expected.abs().max()


@pytest.mark.parametrize("settings", [{}, DECODER], ids=["encoder", "decoder"])
def test_a_backward_inside_of_autocast_gives_the_gradients_of_one_behind_it(settings):
    gradients = []
    for inside in (True, False):
        model = strengthened(MegaForMaskedLM, settings)
        ids = tokens(2, 150)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        gradients.append(model.mega.layers[0].mega_layer.ema_gate.damping_factor.grad)
    assert gradients[0].dtype == torch.float32
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0.05, atol=0.02 * gradients[1].abs().max().item())


def strengthened(model_class, settings):
    torch.manual_seed(0)
    model = model_class(MegaConfig(**{**SIZES, **settings})).eval()
    strengthen(model)
    return model
