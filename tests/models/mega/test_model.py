"""The Mega model as a whole: what goes in, what comes out, how it begins."""

import copy
import importlib
import sys

import pytest
import torch
from torch import nn

from mmkit.extras import MissingExtraError
from mmkit.models import mega
from mmkit.models.mega import MegaConfig, MegaForMaskedLM, MegaModel
from mmkit.models.mega.ema import MultiHeadEMA
from mmkit.models.mega.gated_attention import MovingAverageGatedAttention
from tests.models.mega.tiny import DECODER, SIZES, tiny, tokens


CHUNKED = {"use_chunking": True, "chunk_size": 4}


def test_hidden_states_are_the_embeddings_and_each_block():
    model, ids = tiny(), tokens(2, 6)
    outputs = model(ids, output_hidden_states=True)
    assert len(outputs.hidden_states) == 3
    torch.testing.assert_close(outputs.hidden_states[0], model.embedding_layer.word_embeddings(ids))
    block_output = model.layers[0](outputs.hidden_states[0])[0]
    torch.testing.assert_close(outputs.hidden_states[1], block_output)
    torch.testing.assert_close(outputs.hidden_states[2], outputs.last_hidden_state)


def test_a_block_is_its_sublayers_in_turn():
    block = tiny(**DECODER, add_cross_attention=True).layers[0]
    x, memory = torch.randn(2, 6, 8).double(), torch.randn(2, 5, 8).double()
    expected = block.mega_layer(x)[0]
    expected = block.cross_attn(expected, memory)[0]
    nffn = block.nffn
    normed = nffn.norm(expected)
    expected = expected + nffn.fc2(nn.functional.silu(nffn.fc1(normed)))
    torch.testing.assert_close(block(x, None, memory)[0], expected)


def test_norm_after_the_feed_forward_layer():
    nffn = tiny(normalize_before_ffn=False, normalization_type="layernorm").layers[0].nffn
    x = torch.randn(2, 6, 8).double()
    torch.testing.assert_close(nffn(x), nffn.norm.norm(x + nffn.fc2(nn.functional.silu(nffn.fc1(x)))))


@pytest.mark.parametrize(
    ("settings", "shape"),
    [({}, (2, 1, 6, 6)), (CHUNKED, (2, 2, 4, 4)), ({**DECODER}, (2, 1, 6, 6))],
    ids=["encoder", "chunked", "decoder"],
)
def test_attentions_have_a_chunk_dimension(settings, shape):
    outputs = tiny(**settings)(tokens(2, 6), output_attentions=True)
    assert [each.shape for each in outputs.attentions] == [shape, shape]
    assert outputs.cross_attentions is None


def test_cross_attentions_are_queries_by_sources():
    model = tiny(**DECODER, add_cross_attention=True)
    outputs = model(tokens(2, 6), encoder_hidden_states=torch.randn(2, 5, 8).double(), output_attentions=True)
    assert [each.shape for each in outputs.cross_attentions] == [(2, 6, 5), (2, 6, 5)]


def test_pooler_reads_position_zero():
    model, ids = tiny(), tokens(2, 6)
    outputs = model(ids)
    pooler = model.pooler.dense
    torch.testing.assert_close(outputs.pooler_output, torch.tanh(pooler(outputs.last_hidden_state[:, 0])))
    assert MegaModel(model.config, add_pooling_layer=False)(ids).pooler_output is None


def test_a_tuple_comes_without_return_dict():
    model, ids = tiny(), tokens(2, 6)
    outputs, as_tuple = model(ids), model(ids, return_dict=False)
    assert isinstance(as_tuple, tuple)
    torch.testing.assert_close(as_tuple, (outputs.last_hidden_state, outputs.pooler_output))


def test_vectors_may_stand_for_tokens():
    model, ids = tiny(), tokens(2, 6)
    vectors = model.get_input_embeddings()(ids)
    torch.testing.assert_close(model(inputs_embeds=vectors).last_hidden_state, model(ids).last_hidden_state)


@pytest.mark.parametrize("inputs", ["neither", "both"])
def test_either_tokens_or_vectors_are_asked_for(inputs):
    given = {"input_ids": tokens(2, 6), "inputs_embeds": torch.randn(2, 6, 8).double()} if inputs == "both" else {}
    with pytest.raises(ValueError, match=f"Give either input_ids or inputs_embeds; {inputs} was given"):
        tiny()(**given)


def test_token_types_are_zero_by_default_and_beyond_max_positions():
    model = tiny(add_token_type_embeddings=True, max_positions=8)
    ids = tokens(2, 20)
    zeros, ones = torch.zeros_like(ids), torch.ones_like(ids)
    torch.testing.assert_close(model(ids).last_hidden_state, model(ids, token_type_ids=zeros).last_hidden_state)
    assert not torch.allclose(model(ids).last_hidden_state, model(ids, token_type_ids=ones).last_hidden_state)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_masks_of_any_dtype_mean_the_same(dtype):
    model, ids = tiny(**CHUNKED, attention_activation="laplace"), tokens(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    torch.testing.assert_close(model(ids, mask.to(dtype)).last_hidden_state, model(ids, mask).last_hidden_state)


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match="attention_mask has 5 positions"):
        tiny()(tokens(2, 6), torch.ones(2, 5))


def test_memory_without_cross_attention_is_refused():
    with pytest.raises(ValueError, match="Build it with is_decoder=True, bidirectional=False and add_cross_attention=True"):
        tiny()(tokens(2, 6), encoder_hidden_states=torch.randn(2, 5, 8))


def test_a_sequence_beyond_the_simple_bias_is_refused_in_words():
    with pytest.raises(ValueError, match="max_positions"):
        tiny(relative_positional_bias="simple", max_positions=4)(tokens(1, 5))


def test_pads_without_a_mask_are_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr("transformers.modeling_utils.logger.warning_once", said.append)
    ids = tokens(2, 6)
    tiny()(ids)
    assert not said
    ids[0, -1] = 1
    tiny()(ids)
    assert "attention_mask" in said[0]


@pytest.mark.parametrize("given", ["by default", "asked for"])
def test_a_decoder_returns_a_cache_in_evaluation_and_where_asked_for(given):
    model, ids = tiny(**DECODER), tokens(2, 6)
    wish = {} if given == "by default" else {"use_cache": True}
    assert model(ids, **wish).past_key_values.get_seq_length() == 6
    in_training = model.train()(ids, **wish).past_key_values
    assert (in_training is None) == (given == "by default")
    assert model(ids, use_cache=False).past_key_values is None
    assert tiny()(ids, use_cache=True).past_key_values is None


@pytest.mark.parametrize("settings", [{}, {"attention_activation": "relu2"}, CHUNKED], ids=["softmax", "relu2", "chunked"])
def test_the_documented_tuple_continues_a_padded_past(settings):
    model, ids = tiny(**DECODER, **settings), tokens(2, 7)
    mask = torch.tensor([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])
    past = model(ids[:, :5], mask[:, :5], use_cache=True).past_key_values.to_legacy_cache()
    expected = model(ids, mask, use_cache=False).last_hidden_state[:, 5:]
    torch.testing.assert_close(model(ids[:, 5:], mask, past_key_values=past).last_hidden_state, expected)


def test_a_past_that_cannot_be_continued_is_refused():
    decoder, ids = tiny(**DECODER), tokens(2, 6)
    cache = decoder(ids).past_key_values
    with pytest.raises(ValueError, match="this model is no decoder"):
        tiny()(ids, past_key_values=cache)
    decoder.gradient_checkpointing = True
    with pytest.raises(ValueError, match="gradient checkpointing runs each block twice"):
        decoder.train()(ids, past_key_values=cache)


def test_weights_begin_as_those_of_the_port():
    torch.manual_seed(0)
    config = MegaConfig(vocab_size=2000, num_hidden_layers=1, shared_representation_size=512, initializer_range=0.05)
    model = MegaModel(config)
    layer, ema = model.layers[0].mega_layer, model.layers[0].mega_layer.ema_gate
    assert isinstance(layer, MovingAverageGatedAttention)
    assert isinstance(ema, MultiHeadEMA)
    signs = torch.tensor([1.0, -1.0] * 8).view(16, 1)
    drawn = {
        0.05: [model.embedding_layer.word_embeddings.weight[2:], layer.mx_proj.weight, layer.qk_weight],
        0.2: [ema.damping_factor, ema.decay_factor],
        0.02: [ema.ema_expansion_matrix - signs],
        1.0: [ema.kernel_projection_matrix],
    }
    for deviation, weights in drawn.items():
        for weight in weights:
            assert weight.std().item() == pytest.approx(deviation, rel=0.1)
            assert abs(weight.mean().item()) < 0.1 * deviation
    assert ema.residual_weight.std().item() == pytest.approx(1.0, rel=0.3)
    assert layer.rel_pos_bias.alpha.std().item() == pytest.approx(0.05, rel=0.15)
    for zero in (model.embedding_layer.word_embeddings.weight[1], layer.qk_bias, layer.mx_proj.bias):
        assert not zero.any()
    assert torch.equal(layer.norm.norm.scalar, torch.ones(1))


def test_every_norm_can_be_initialised_without_affine_weights():
    for kind in ("layernorm", "scalenorm", "rmsnorm", "batchnorm", "syncbatchnorm"):
        model = tiny(normalization_type=kind, norm_affine=False)
        assert not [name for name, _ in model.named_parameters() if "norm" in name]
        assert model(tokens(2, 6)).last_hidden_state.isfinite().all()


def test_a_model_can_be_copied_after_it_has_run():
    model, ids = tiny(), tokens(2, 6)
    expected = model(ids).last_hidden_state
    torch.testing.assert_close(copy.deepcopy(model)(ids).last_hidden_state, expected)


def test_a_model_builds_on_the_meta_device_and_runs_there():
    with torch.device("meta"):
        model = MegaForMaskedLM(MegaConfig(**SIZES))
        outputs = model(torch.zeros(2, 6, dtype=torch.long), torch.ones(2, 6, dtype=torch.long))
    assert outputs.logits.shape == (2, 6, 23)
    assert outputs.logits.is_meta


def test_without_transformers_one_line_tells_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"^mmkit.models.mega needs `pip install mmkit\[text\]`"):
        importlib.reload(mega)
