"""torch.compile takes each model whole: no graph breaks, the same numbers."""

import pytest
import torch

from tests.models.mega.tiny import DECODER, tiny, tokens


# torch warns of what its own compiler does: it makes an instance of each autograd function, and inductor uses torch.jit.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),
]

CHUNKED = {"use_chunking": True, "chunk_size": 4}
MASKS = {
    "whole": None,
    "right": torch.tensor([[1] * 10, [1] * 7 + [0] * 3]),
    "left": torch.tensor([[1] * 10, [0] * 3 + [1] * 7]),
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def language_model(settings):
    model_class = "MegaForCausalLM" if "is_decoder" in settings else "MegaForMaskedLM"
    return tiny(model_class, num_hidden_layers=1, **settings)


def loss_and_gradients(run, model, mask, length=10):
    model.zero_grad()
    ids = tokens(2, length)
    loss = run(ids, attention_mask=mask, labels=ids).loss
    loss.backward()
    return loss.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(
    ("settings", "mask"),
    [
        ({}, "whole"),
        ({**CHUNKED, **DECODER, "attention_activation": "laplace"}, "left"),
        ({"truncation": 4}, "whole"),
    ],
    ids=["plain encoder", "chunked decoder", "truncated average"],
)
def test_training_steps_are_compiled_without_graph_breaks(settings, mask):
    model = language_model(settings)
    expected = loss_and_gradients(model, model, MASKS[mask])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(loss_and_gradients(compiled, model, MASKS[mask]), expected)


@pytest.mark.parametrize("settings", [{}, CHUNKED], ids=["plain", "chunked"])
def test_dropout_is_compiled_without_graph_breaks(settings):
    model = language_model(settings).train()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    loss, gradients = loss_and_gradients(compiled, model, MASKS["right"])
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["whole", "left"])
@pytest.mark.parametrize("activation", ["softmax", "relu2"])
@pytest.mark.parametrize("settings", [{}, CHUNKED, DECODER, {**CHUNKED, **DECODER}], ids=["", "chunked", "decoder", "both"])
def test_every_kind_is_compiled_without_graph_breaks(settings, activation, mask):
    model = language_model({**settings, "attention_activation": activation})
    expected = loss_and_gradients(model, model, MASKS[mask])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(loss_and_gradients(compiled, model, MASKS[mask]), expected)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["softmax", "laplace"])
@pytest.mark.parametrize("settings", [{}, {**CHUNKED, **DECODER}], ids=["encoder", "chunked decoder"])
def test_inductor_gives_the_same_numbers(settings, activation):
    model = language_model({**settings, "attention_activation": activation})
    expected = loss_and_gradients(model, model, MASKS["left"])
    torch.testing.assert_close(loss_and_gradients(torch.compile(model, fullgraph=True), model, MASKS["left"]), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"normalization_type": "batchnorm"}, {"truncation": 3}, {**CHUNKED, "relative_positional_bias": "simple"}],
    ids=["batchnorm", "truncation", "simple"],
)
def test_every_part_is_compiled_without_graph_breaks(settings):
    model = language_model(settings)
    expected = loss_and_gradients(model, model, MASKS["right"])
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(loss_and_gradients(compiled, model, MASKS["right"]), expected)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, CHUNKED], ids=["plain", "chunked"])
def test_lengths_may_change(settings):
    model = language_model(settings)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for length in (10, 13, 17, 40):
        expected = loss_and_gradients(model, model, None, length)
        torch.testing.assert_close(loss_and_gradients(compiled, model, None, length), expected)
