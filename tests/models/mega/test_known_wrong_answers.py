"""One test for each wrong answer of the Hugging Face port that Mega in mmkit replaces."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.models.mega import MegaConfig
from mmkit.models.mega.ema import MultiHeadEMA
from mmkit.models.mega.norms import SequenceNorm
from tests.models.mega.reference_cases import decoded
from tests.models.mega.tiny import DECODER, SIZES, features, strengthen, tiny, tokens


ACTIVATIONS = pytest.mark.parametrize("activation", ["softmax", "laplace", "relu2"])
ELEMENT_ACTIVATIONS = pytest.mark.parametrize("activation", ["laplace", "relu2"])
BIASES = pytest.mark.parametrize("bias", ["rotary", "simple"])


def assert_equal(ours: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def padded_left(ids_L: Tensor, pads: int) -> tuple[Tensor, Tensor]:
    """A sequence behind pads, above one without any, and the mask."""
    full_L = tokens(1, len(ids_L) + pads, seed=5)[0]
    ids_BL = torch.stack([full_L, F.pad(ids_L, (pads, 0), value=1)])
    mask_BL = torch.ones_like(ids_BL)
    mask_BL[1, :pads] = 0
    return ids_BL, mask_BL


def naive_ema(ema: MultiHeadEMA, x_LD: Tensor) -> Tensor:
    """Equations 2 and 3 of the paper as they stand, one step after the other, before the activation; in one direction."""
    damping_DN, decay_DN = ema.damping_factor[..., 0].sigmoid(), ema.decay_factor[..., 0].sigmoid()
    projection_DN = ema.kernel_projection_matrix / ema.kernel_projection_matrix.shape[1] ** 0.5
    state_DN, outputs = torch.zeros_like(damping_DN), []
    for x_D in x_LD:
        expanded_DN = ema.ema_expansion_matrix[..., 0] * x_D[:, None]
        state_DN = damping_DN * expanded_DN + (1 - damping_DN * decay_DN) * state_DN
        outputs.append((state_DN * projection_DN).sum(1) + ema.residual_weight * x_D)
    return torch.stack(outputs)


def one_way_ema(**config: object) -> MultiHeadEMA:
    ema = MultiHeadEMA(MegaConfig(**{**SIZES, "bidirectional": False, **config})).double()
    strengthen(ema)
    return ema


def test_rmsnorm_discards_its_result():
    norm = SequenceNorm("rmsnorm", 8).double()
    strengthen(norm)
    x_BLD = features(2, 5)
    expected = x_BLD * norm.norm.weight / (x_BLD.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert_equal(norm(x_BLD), expected)


@ELEMENT_ACTIVATIONS
def test_a_decode_step_divides_by_one_instead_of_the_keys_so_far(activation: str):
    model, ids_BL = tiny("MegaForCausalLM", attention_activation=activation, **DECODER), tokens(2, 7)
    assert_equal(decoded(model, [4, 1, 1, 1], input_ids=ids_BL), model(ids_BL).logits)


def cross_model_and_call(activation: str, bias: str) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    model = tiny(
        "MegaForCausalLM", attention_activation=activation, relative_positional_bias=bias, add_cross_attention=True, **DECODER
    )
    mask_BS = torch.ones(2, 5, dtype=torch.long)
    mask_BS[1, 3:] = 0
    return model, {"input_ids": tokens(2, 7), "encoder_hidden_states": features(2, 5), "encoder_attention_mask": mask_BS}


@BIASES
@ACTIVATIONS
def test_cached_cross_attention_uses_a_position_off_by_one(activation: str, bias: str):
    model, call = cross_model_and_call(activation, bias)
    assert_equal(decoded(model, [1] * 7, **call), model(**call).logits)


@BIASES
@ACTIVATIONS
def test_steps_after_a_prefill_with_cross_attention_differ(activation: str, bias: str):
    model, call = cross_model_and_call(activation, bias)
    assert_equal(decoded(model, [4, 1, 2], **call), model(**call).logits)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_softmax_decoder_with_left_padding_gives_nan_in_outputs_loss_and_gradients(chunk_size: int | None):
    chunking = {"use_chunking": True, "chunk_size": chunk_size} if chunk_size else {}
    model, row_L = tiny("MegaForCausalLM", **DECODER, **chunking), tokens(1, 5)[0]
    ids_BL, mask_BL = padded_left(row_L, pads=6)
    output = model(ids_BL, attention_mask=mask_BL, labels=ids_BL.masked_fill(mask_BL == 0, -100))
    assert output.logits.isfinite().all()
    assert_equal(output.logits[1, 6:], model(row_L[None]).logits[0])
    assert_equal(output.logits[0], model(ids_BL[:1]).logits[0])
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


@ELEMENT_ACTIVATIONS
def test_element_attention_with_left_padding_counts_the_pads(activation: str):
    model, row_L = tiny("MegaForCausalLM", attention_activation=activation, **DECODER), tokens(1, 5)[0]
    ids_BL, mask_BL = padded_left(row_L, pads=3)
    logits = model(ids_BL, attention_mask=mask_BL).logits
    assert_equal(logits[1, 3:], model(row_L[None]).logits[0])
    assert logits.isfinite().all()


@ACTIVATIONS
@pytest.mark.parametrize("mask_of_a_step", ["all tokens", "new tokens"])
def test_padding_is_forgotten_in_decode(activation: str, mask_of_a_step: str):
    model, row_L = tiny("MegaForCausalLM", attention_activation=activation, **DECODER), tokens(1, 6)[0]
    ids_BL, mask_BL = padded_left(row_L, pads=3)
    cache, logits = None, []
    for start, end in ((0, 5), (5, 6), (6, 8), (8, 9)):
        mask = mask_BL[:, :end] if mask_of_a_step == "all tokens" else mask_BL[:, start:end]
        output = model(ids_BL[:, start:end], attention_mask=mask, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logits.append(output.logits)
    assert_equal(torch.cat(logits, 1)[1, 3:], model(row_L[None]).logits[0])


@BIASES
@ACTIVATIONS
@pytest.mark.parametrize("steps", [[1] * 11, [3, 3, 5], [9, 2], [4, 4, 3]], ids=str)
def test_a_cache_crossing_the_end_of_a_chunk_crashes(activation: str, bias: str, steps: list[int]):
    chunking = {"use_chunking": True, "chunk_size": 4, "relative_positional_bias": bias, "attention_activation": activation}
    model, ids_BL = tiny("MegaForCausalLM", **DECODER, **chunking), tokens(2, 11)
    assert_equal(decoded(model, steps, input_ids=ids_BL), model(ids_BL).logits)


@ACTIVATIONS
@pytest.mark.parametrize("direction", ["encoder", "decoder"])
@pytest.mark.parametrize("length", [1, 3, 5, 10])
def test_a_short_or_ragged_chunk_crashes(activation: str, direction: str, length: int):
    config = {"use_chunking": True, "chunk_size": 4, "attention_activation": activation}
    model, ids_BL = tiny(**config, **(DECODER if direction == "decoder" else {})), tokens(2, length)
    padded_BL = F.pad(ids_BL, (0, -length % 4), value=1)
    expected = model(padded_BL, attention_mask=padded_BL != 1).last_hidden_state[:, :length]
    assert_equal(model(ids_BL).last_hidden_state, expected)


def test_a_simple_bias_with_chunking_reads_the_wrong_table():
    chunked = tiny(relative_positional_bias="simple", use_chunking=True, chunk_size=4)
    state = chunked.state_dict()
    tables = [name for name in state if name.endswith("rel_pos_bias.rel_pos_bias")]
    assert [len(state[name]) for name in tables] == [7, 7]
    whole, ids_BL = tiny(relative_positional_bias="simple", max_positions=9), tokens(2, 4)
    whole.load_state_dict({name: F.pad(value, (5, 5)) if name in tables else value for name, value in state.items()})
    assert_equal(chunked(ids_BL).last_hidden_state, whole(ids_BL).last_hidden_state)


def test_token_types_fail_by_default_beyond_max_positions():
    model, ids_BL = tiny(add_token_type_embeddings=True, max_positions=8), tokens(2, 12)
    expected = model(ids_BL, token_type_ids=torch.zeros_like(ids_BL)).last_hidden_state
    assert_equal(model(ids_BL).last_hidden_state, expected)


def test_the_kernel_of_the_average_goes_stale_after_load_state_dict():
    model, other, ids_BL = tiny(seed=0), tiny(seed=1), tokens(2, 7)
    with torch.no_grad():
        model(ids_BL)
        model.load_state_dict(other.state_dict())
        assert_equal(model(ids_BL).last_hidden_state, other(ids_BL).last_hidden_state)


def test_gradients_of_the_average_are_dropped_after_no_grad():
    model, fresh, ids_BL = tiny(), tiny(), tokens(2, 7)
    with torch.no_grad():
        model(ids_BL)
    model(ids_BL).last_hidden_state.square().sum().backward()
    fresh(ids_BL).last_hidden_state.square().sum().backward()
    expected = dict(fresh.named_parameters())
    for name, parameter in model.named_parameters():
        if "ema_gate" in name:
            assert parameter.grad is not None, name
            assert_equal(parameter.grad, expected[name].grad)


def test_a_model_cannot_be_deep_copied_after_a_forward():
    model, ids_BL = tiny(), tokens(2, 7)
    expected = model(ids_BL).last_hidden_state  # with gradients
    assert_equal(copy.deepcopy(model)(ids_BL).last_hidden_state, expected)


@pytest.mark.parametrize("steps", [[9], [1] * 9, [2, 1, 6]], ids=str)
def test_truncation_is_ignored_with_a_cache(steps: list[int]):
    model, ids_BL = tiny("MegaForCausalLM", truncation=3, **DECODER), tokens(2, 9)
    whole = tiny("MegaForCausalLM", **DECODER)
    expected = model(ids_BL, use_cache=False).logits
    assert (expected - whole(ids_BL).logits).abs().max() > 1e-3
    assert_equal(decoded(model, steps, input_ids=ids_BL), expected)


@pytest.mark.parametrize("truncation", [None, 3])
def test_a_truncated_kernel_is_that_of_the_first_steps(truncation: int | None):
    ema, x_LD = one_way_ema(truncation=truncation), features(1, 9)[0]
    window = truncation or 9
    ends = [naive_ema(ema, x_LD[max(0, end - window) : end])[-1] for end in range(1, 10)]
    assert_equal(ema(x_LD[None])[0][0], F.silu(torch.stack(ends)))


def test_a_model_in_fp64_convolves_in_fp32():
    ema, x_LD = one_way_ema(), features(1, 50)[0]
    y_BLD, _ = ema(x_LD[None])
    assert y_BLD.dtype == torch.float64
    assert_equal(y_BLD[0], F.silu(naive_ema(ema, x_LD)), tolerance=1e-12)


@pytest.mark.parametrize("truncation", [None, 800])
def test_positions_are_counted_in_half_precision(truncation: int | None):
    ema = one_way_ema(truncation=truncation)
    with torch.no_grad():
        ema.damping_factor.fill_(-4.0)  # damping and decay of 0.018: what was 800 steps ago still counts
        ema.decay_factor.fill_(-4.0)
        ema.ema_expansion_matrix.abs_()
        ema.kernel_projection_matrix.abs_()  # all of it adds up
    rounded, x_BLD = ema.bfloat16(), torch.ones(1, 800, 8, dtype=torch.bfloat16)
    y_BLD, _ = rounded(x_BLD)
    expected_LD = F.silu(naive_ema(copy.deepcopy(rounded).double(), x_BLD[0].double()))
    assert ((y_BLD[0].double() - expected_LD) / expected_LD).abs()[-1].max() < 0.004  # the last rounding alone


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int32])
@ACTIVATIONS
def test_masks_that_are_no_int64_crash(activation: str, dtype: torch.dtype):
    model, call = cross_model_and_call(activation, "rotary")
    call["attention_mask"] = torch.ones(2, 7, dtype=torch.long)
    call["attention_mask"][0, 5:] = 0
    expected = model(**call).logits
    masks = {name: call[name].to(dtype) for name in ("attention_mask", "encoder_attention_mask")}
    assert_equal(model(**{**call, **masks}).logits, expected)


@pytest.mark.parametrize("kind", ["layernorm", "scalenorm", "rmsnorm", "batchnorm"])
def test_norms_without_weights_crash(kind: str):
    model = tiny(normalization_type=kind, norm_affine=False)
    assert not [name for name, _ in model.named_parameters() if "norm" in name]
    assert model(tokens(2, 5)).last_hidden_state.isfinite().all()


@BIASES
@ACTIVATIONS
def test_a_fully_masked_encoder_row_gives_nan(activation: str, bias: str):
    model, call = cross_model_and_call(activation, bias)
    expected = model(**call).logits[0]
    call["encoder_attention_mask"][1] = 0
    output = model(**call, output_attentions=True)
    assert_equal(output.logits[0], expected)
    assert all((weights[1] == 0).all() for weights in output.cross_attentions)
    output.logits.sum().backward()
    assert output.logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


@ACTIVATIONS
@pytest.mark.parametrize("direction", ["encoder", "decoder"])
def test_a_row_of_pads_only_gives_nan(activation: str, direction: str):
    model = tiny(attention_activation=activation, **(DECODER if direction == "decoder" else {}))
    ids_BL, mask_BL = tokens(2, 6), torch.tensor([[1] * 6, [0] * 6])
    hidden = model(ids_BL, attention_mask=mask_BL).last_hidden_state
    assert_equal(hidden[0], model(ids_BL[:1]).last_hidden_state[0])
    hidden.sum().backward()
    assert hidden.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("kind", ["batchnorm", "syncbatchnorm"])
def test_statistics_of_batchnorm_include_pads(kind: str):
    norm, x_BLD = SequenceNorm(kind, 8).double().train(), features(3, 5)
    mask_BL = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.bool)
    y_BLD, real_ND = norm(x_BLD, mask_BL), x_BLD[mask_BL]
    expected_ND = (real_ND - real_ND.mean(0)) / (real_ND.var(0, correction=0) + 1e-5).sqrt()
    assert_equal(y_BLD[mask_BL], expected_ND)
    assert_equal(norm.norm.running_mean, 0.1 * real_ND.mean(0))
    assert_equal(norm.norm.running_var, 0.9 + 0.1 * real_ND.var(0))


@pytest.mark.parametrize("model_class", ["MegaForCausalLM", "MegaForMaskedLM"])
def test_the_loss_does_not_know_num_items_in_batch(model_class: str):
    causal = model_class == "MegaForCausalLM"
    model, ids_BL = tiny(model_class, **(DECODER if causal else {})), tokens(4, 6)
    labels_BL = ids_BL.masked_fill(torch.rand(4, 6, generator=torch.Generator().manual_seed(3)) < 0.5, -100)
    labels_BL[0, 1:] = -100
    counted = int(((labels_BL[:, 1:] if causal else labels_BL) != -100).sum())
    parts = [
        model(ids, labels=labels, num_items_in_batch=torch.tensor(counted)).loss
        for ids, labels in zip(ids_BL.split([1, 3]), labels_BL.split([1, 3]), strict=True)
    ]
    assert_equal(torch.stack(parts).sum(), model(ids_BL, labels=labels_BL).loss)
