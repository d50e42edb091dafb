"""Gradient checkpointing: less memory, the same gradients."""

import pytest
import torch

from tests.models.mega.tiny import DECODER, tiny, tokens


def switch(model, state):
    """Earlier versions of transformers know activation checkpointing by its other name only."""
    return getattr(model, f"activation_checkpointing_{state}", None) or getattr(model, f"gradient_checkpointing_{state}")


def enable(model, options=None):
    switch(model, "enable")(options)


def gradients(model, ids, mask, **kwargs):
    model.zero_grad()
    torch.manual_seed(0)
    model(ids, attention_mask=mask, labels=ids, **kwargs).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
@pytest.mark.parametrize(
    ("model_class", "settings"),
    [
        ("MegaForMaskedLM", {}),
        ("MegaForCausalLM", DECODER),
        ("MegaForCausalLM", {**DECODER, "use_chunking": True, "chunk_size": 4, "attention_activation": "laplace"}),
        ("MegaForCausalLM", {**DECODER, "add_cross_attention": True, "normalization_type": "batchnorm"}),
    ],
    ids=["masked", "causal", "chunked laplace", "cross-attention"],
)
def test_gradients_are_equal_with_dropout(model_class, settings, reentrant):
    model, ids = tiny(model_class, **settings).train(), tokens(2, 6)
    mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
    memory = {"encoder_hidden_states": torch.randn(2, 5, 8).double()} if "add_cross_attention" in settings else {}
    expected = gradients(model, ids, mask, **memory)
    enable(model, {"use_reentrant": reentrant})
    assert model.mega.gradient_checkpointing
    if reentrant:
        model.enable_input_require_grads()
    torch.testing.assert_close(gradients(model, ids, mask, **memory), expected)


def test_blocks_are_run_again_in_the_backward_pass():
    model, ids = tiny("MegaForMaskedLM").train(), tokens(2, 6)
    enable(model)
    runs = []
    model.mega.layers[0].nffn.register_forward_pre_hook(lambda *_: runs.append(1))
    loss = model(ids, labels=ids).loss
    assert len(runs) == 1
    loss.backward()
    assert len(runs) == 2


def test_no_cache_is_kept_while_checkpointing():
    model, ids = tiny("MegaForCausalLM", **DECODER).train(), tokens(2, 6)
    enable(model)
    assert model(ids, use_cache=True).past_key_values is None
    assert model.eval()(ids, use_cache=True).past_key_values.get_seq_length() == 6


def test_checkpointing_can_be_switched_off():
    model = tiny("MegaForMaskedLM").train()
    enable(model)
    switch(model, "disable")()
    assert not model.mega.gradient_checkpointing
