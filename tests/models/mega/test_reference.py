"""Every case of the reference data, replayed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mmkit.models.mega import MegaConfig, MegaModel
from mmkit.models.mega.fairseq_names import config_from_fairseq, converted_names
from tests.models.mega.reference_cases import FP32, Case, cases, decoded, difference, flat_outputs


def as_params(found: list[Case]) -> Any:
    return pytest.mark.parametrize("case", found, ids=[case.name for case in found])


def test_all_cases_are_replayed():
    replayed = cases("hf", "fixed") + cases("invariant", prefix="cached") + cases("invariant", prefix="leftpad")
    replayed += cases("invariant", prefix="chunk_ragged") + cases("original")
    assert len({case.name for case in replayed}) == 64


@as_params(cases("hf", "fixed"))
def test_outputs_are_those_of_the_port(case: Case):
    with torch.no_grad():
        ours = flat_outputs(case.model()(**case.inputs(), **case.call))
    differences = {name: difference(ours[name], expected) for name, expected in case.tensors("out/").items()}
    assert max(differences.values()) <= FP32, differences


@as_params(cases("hf", "fixed"))
def test_gradient_norms_are_those_of_the_port(case: Case):
    model = case.model().double()
    output = model(**case.inputs(torch.float64), **case.call)
    main = next(output[name] for name in ("logits", "last_hidden_state", "start_logits") if name in output)
    (main * case.tensors("in/")["_probe"].double()).sum().backward()
    parameters = dict(model.named_parameters())
    for name, expected in case.tensors("gradnorm/").items():
        assert parameters[name].grad.norm().item() == pytest.approx(expected.item(), rel=1e-4), name


@as_params(cases("invariant", prefix="cached"))
@pytest.mark.parametrize("steps", [[12], [1] * 12, [5, 7], [5] + [1] * 7, [2, 3, 3, 4]], ids=str)
def test_cached_decoding_is_the_full_forward(case: Case, steps: list[int]):
    assert difference(decoded(case.model(), steps, **case.inputs()), case.tensors("out/")["logits"]) <= FP32


@as_params(cases("invariant", prefix="cached"))
def test_the_full_forward_without_a_cache(case: Case):
    with torch.no_grad():
        logits = case.model()(**case.inputs(), use_cache=False).logits
    assert difference(logits, case.tensors("out/")["logits"]) <= FP32


@as_params(cases("invariant", prefix="leftpad"))
def test_left_padding_changes_no_real_row(case: Case):
    with torch.no_grad():
        logits = case.model()(**case.inputs()).logits
    expected = case.tensors("out/")
    assert logits.isfinite().all()
    assert difference(logits[0], expected["row0"]) <= FP32
    assert difference(logits[1, 4:], expected["row1_real"]) <= FP32


@as_params(cases("invariant", prefix="chunk_ragged"))
def test_a_ragged_last_chunk_is_padded_inside(case: Case):
    with torch.no_grad():
        hidden = case.model()(**case.inputs()).last_hidden_state
    assert difference(hidden, case.tensors("out/")["last_hidden_state"]) <= FP32


def layer_of(case: Case) -> MegaModel:
    """The original's single layer as a model of one layer, under our names."""
    state = {f"layers.0.{name}": tensor for name, tensor in case.state_dict().items()}
    model = MegaModel(MegaConfig(**config_from_fairseq(case.config, state), vocab_size=8))
    missing, unexpected = model.load_state_dict(converted_names(state), strict=False)
    assert not unexpected
    assert all(name.startswith(("pooler", "embedding_layer")) for name in missing)
    return model.eval()


def batch_first(x_LBD: Tensor) -> Tensor:
    return x_LBD.transpose(0, 1)


@as_params(cases("original", prefix="orig_enc"))
def test_an_encoder_layer_is_that_of_the_original(case: Case):
    model, inputs, expected = layer_of(case), case.inputs(), case.tensors("out/")
    x_BLD = batch_first(inputs["x"])
    with torch.no_grad():
        y_BLD = model(inputs_embeds=x_BLD).last_hidden_state
        masked_BLD = model(inputs_embeds=x_BLD, attention_mask=~inputs["padding_mask"]).last_hidden_state
    assert difference(y_BLD, batch_first(expected["y"])) <= FP32
    assert difference(masked_BLD, batch_first(expected["y_masked"])) <= FP32


@as_params(cases("original", prefix="orig_dec"))
def test_a_decoder_layer_is_that_of_the_original(case: Case):
    model, inputs, expected = layer_of(case), case.inputs(), case.tensors("out/")
    call = {
        "inputs_embeds": batch_first(inputs["x"]),
        "encoder_hidden_states": batch_first(inputs["encoder_out"]),
        "encoder_attention_mask": ~inputs["encoder_padding_mask"],
    }
    with torch.no_grad():
        y_BLD = model(**call).last_hidden_state
    assert difference(y_BLD, batch_first(expected["y"])) <= FP32
    assert difference(decoded(model, [1] * 12, **call), batch_first(expected["y_incremental"])) <= FP32
    assert difference(decoded(model, [4, 1, 7], **call), batch_first(expected["y_incremental"])) <= FP32
