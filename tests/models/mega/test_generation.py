"""``generate``: with the cache it writes what it writes without."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderModel

from mmkit.models.mega import MegaCache
from mmkit.models.mega.generation import step_mask
from tests.models.mega.tiny import DECODER, features, tiny, tokens


NEW = 9
KINDS = {
    "softmax": {},
    "softmax in chunks": {"use_chunking": True, "chunk_size": 4},
    "laplace in chunks": {"attention_activation": "laplace", "use_chunking": True, "chunk_size": 3},
    "relu2, simple bias": {"attention_activation": "relu2", "relative_positional_bias": "simple"},
    "truncated": {"truncation": 3},
}
ALL_KINDS = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS.keys())


# Shapes: B batch, L positions, S source positions.
def decoder(seed: int = 0, **config: Any) -> Any:
    return tiny("MegaForCausalLM", seed, **DECODER, **config)


def written(model: Any, ids_BL: Tensor, **options: Any) -> Tensor:
    """What ``generate`` writes, of a fixed length so that no row ends early."""
    if "attention_mask" not in options:
        options["attention_mask"] = torch.ones_like(ids_BL)
    length = {"max_new_tokens": NEW} | options
    return model.generate(ids_BL, eos_token_id=None, pad_token_id=1, **{"do_sample": False, **length})


@ALL_KINDS
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}], ids=str)
def test_the_cache_does_not_change_what_is_written(config: dict[str, Any], options: dict[str, Any]):
    model, ids_BL = decoder(**config), tokens(2, 6)
    assert written(model, ids_BL, **options).equal(written(model, ids_BL, use_cache=False, **options))


@ALL_KINDS
def test_the_cache_does_not_change_samples(config: dict[str, Any]):
    model, ids_BL, samples = decoder(**config), tokens(2, 6), []
    for use_cache in (True, False):
        torch.manual_seed(3)
        samples.append(written(model, ids_BL, do_sample=True, use_cache=use_cache))
    assert samples[0].equal(samples[1])


# transformers warns of what its own candidate generator does.
@pytest.mark.filterwarnings("ignore:Passing `generation_config` together")
@ALL_KINDS
@pytest.mark.parametrize("assistant", ["a smaller model", "the model itself", "the prompt"])
def test_an_assistant_does_not_change_what_is_written(config: dict[str, Any], assistant: str):
    model, ids_BL = decoder(**config), tokens(1, 6)
    options: dict[str, Any] = {"prompt_lookup_num_tokens": 2}
    if assistant != "the prompt":
        smaller = decoder(seed=4, **{**config, "num_hidden_layers": 1})
        options = {"assistant_model": model if assistant == "the model itself" else smaller}
    assert written(model, ids_BL, max_new_tokens=16, **options).equal(written(model, ids_BL, max_new_tokens=16))


@ALL_KINDS
@pytest.mark.parametrize("options", [{"prefill_chunk_size": 2}, {"cache_implementation": "static"}], ids=str)
def test_how_the_cache_is_filled_does_not_matter(config: dict[str, Any], options: dict[str, Any]):
    model, ids_BL = decoder(**config), tokens(2, 7)
    assert written(model, ids_BL, **options).equal(written(model, ids_BL))


@ALL_KINDS
@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"prefill_chunk_size": 3}], ids=str)
def test_a_padded_row_gets_what_it_gets_alone(config: dict[str, Any], options: dict[str, Any]):
    model, ids_BL = decoder(**config), tokens(3, 8)
    mask_BL = (torch.arange(8) >= torch.tensor([[0], [3], [7]])).long()
    together = written(model, ids_BL.masked_fill(mask_BL == 0, 1), attention_mask=mask_BL, **options)
    for row, pads in enumerate([0, 3, 7]):
        assert together[row : row + 1, pads:].equal(written(model, ids_BL[row : row + 1, pads:], **options))


@ALL_KINDS
def test_a_text_can_be_continued_with_the_cache_of_its_beginning(config: dict[str, Any]):
    model, ids_BL = decoder(**config), tokens(2, 5)
    whole, cache = written(model, ids_BL), MegaCache(model.config)
    beginning = written(model, ids_BL, max_new_tokens=4, past_key_values=cache)
    assert cache.get_seq_length() == 8
    assert written(model, beginning, max_new_tokens=NEW - 4, past_key_values=cache).equal(whole)


def test_the_returned_cache_continues_the_text():
    model, ids_BL = decoder(), tokens(2, 5)
    beginning = written(model, ids_BL, max_new_tokens=4, return_dict_in_generate=True)
    past = beginning.past_key_values.to_legacy_cache()
    assert written(model, beginning.sequences, max_new_tokens=5, past_key_values=past).equal(written(model, ids_BL))


def test_a_padded_text_cannot_be_continued_with_a_tuple():
    model, mask_BL = decoder(), torch.tensor([[1, 1, 1], [0, 1, 1]])
    past = written(model, tokens(2, 3), attention_mask=mask_BL, return_dict_in_generate=True).past_key_values.to_legacy_cache()
    with pytest.raises(ValueError, match=r"Give past_key_values=MegaCache\.from_legacy_cache"):
        written(model, tokens(2, 4), attention_mask=torch.tensor([[1] * 4, [0] + [1] * 3]), past_key_values=past)


def test_embeddings_may_take_the_place_of_the_prompt():
    model, ids_BL = decoder(), tokens(2, 5)
    embeddings = model.get_input_embeddings()(ids_BL)
    out = model.generate(
        inputs_embeds=embeddings, attention_mask=torch.ones_like(ids_BL), max_new_tokens=NEW, do_sample=False, eos_token_id=None
    )
    assert out.equal(written(model, ids_BL)[:, 5:])


@pytest.mark.parametrize("activation", ["softmax", "laplace", "relu2"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"prefill_chunk_size": 2}], ids=str)
def test_the_source_of_cross_attention_is_read_in_generate(activation: str, options: dict[str, Any]):
    model = decoder(attention_activation=activation, add_cross_attention=True)
    mask_BS = torch.tensor([[1] * 5, [1] * 3 + [0] * 2])
    source = {"encoder_hidden_states": features(2, 5), "encoder_attention_mask": mask_BS}
    cached = written(model, tokens(2, 4), **source, **options)
    without = {name: value for name, value in options.items() if name != "prefill_chunk_size"}
    assert cached.equal(written(model, tokens(2, 4), use_cache=False, **source, **without))
    assert not cached.equal(written(model, tokens(2, 4), encoder_hidden_states=-features(2, 5), **options))


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=str)
def test_transformers_encoder_decoder_holds_two_megas(options: dict[str, Any]):
    encoder, model = tiny("MegaModel"), decoder(seed=1, add_cross_attention=True)
    both = EncoderDecoderModel(encoder=encoder, decoder=model).eval()
    source_BS, mask_BS = tokens(2, 6), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    options = {"max_new_tokens": NEW, "eos_token_id": None, "pad_token_id": 1, "do_sample": False, **options}
    out = both.generate(source_BS, attention_mask=mask_BS, decoder_start_token_id=0, **options)
    memory = {
        "encoder_hidden_states": encoder(source_BS, attention_mask=mask_BS).last_hidden_state,
        "encoder_attention_mask": mask_BS,
    }
    assert out.equal(model.generate(torch.zeros(2, 1, dtype=torch.long), **memory, **options))
    assert out.equal(both.generate(source_BS, attention_mask=mask_BS, decoder_start_token_id=0, use_cache=False, **options))


def test_that_encoder_decoder_trains():
    both = EncoderDecoderModel(encoder=tiny("MegaModel"), decoder=decoder(add_cross_attention=True))
    both.config.decoder_start_token_id, both.config.pad_token_id = 0, 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers tells of what it changed in version 4.12
        both(input_ids=tokens(2, 6), labels=tokens(2, 5)).loss.backward()
    assert all(p.grad is not None for name, p in both.named_parameters() if "pooler" not in name)


def test_generation_under_inference_mode_can_be_continued_outside():
    model, ids_BL, cache = decoder(), tokens(1, 5), None
    cache = MegaCache(model.config)
    with torch.inference_mode():
        beginning = written(model, ids_BL, max_new_tokens=4, past_key_values=cache)
    assert written(model, beginning.clone(), max_new_tokens=5, past_key_values=cache).equal(written(model, ids_BL))


def test_generation_under_bf16_autocast_runs():
    model = decoder(use_chunking=True, chunk_size=4).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = written(model, tokens(2, 5), num_beams=2)
    assert out.shape == (2, 5 + NEW)


def test_a_half_precision_model_generates():
    model = decoder().bfloat16()
    assert written(model, tokens(2, 5)).shape == (2, 5 + NEW)


@pytest.mark.parametrize("implementation", ["quantized", "offloaded", "sliding_window"])
def test_a_cache_that_mega_does_not_have_is_refused(implementation: str):
    with pytest.raises(ValueError, match="Known: dynamic, static"):
        written(decoder(), tokens(1, 3), cache_implementation=implementation)


def test_two_answers_to_which_cache_are_refused():
    model = decoder()
    with pytest.raises(ValueError, match="use only one of the two"):
        written(model, tokens(1, 3), cache_implementation="static", past_key_values=MegaCache(model.config))


def test_the_cache_of_another_kind_of_model_is_refused():
    model, cache = decoder(), DynamicCache()
    cache.update(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4), 0)
    with pytest.raises(TypeError, match="cannot continue a DynamicCache"):
        written(model, tokens(1, 5), past_key_values=cache)


def test_a_static_cache_has_room_for_the_whole_text_at_once():
    model = decoder()
    output = written(model, tokens(1, 5), max_new_tokens=90, cache_implementation="static", return_dict_in_generate=True)
    assert output.past_key_values.layers[0].attention.keys.shape[1] == 5 + 90 - 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32], ids=str)
@pytest.mark.parametrize("columns", [2, 5], ids=["new tokens", "all tokens"])
def test_the_mask_of_a_step_is_that_of_its_own_tokens(dtype: torch.dtype, columns: int):
    mask = torch.tensor([[1, 0, 1, 1, 0]]).to(dtype)[:, -columns:]
    assert step_mask(mask, past_length=3, length=2).tolist() == [[True, False]]


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"has 4 positions. Give it for the 2 new tokens, or for all 5"):
        step_mask(torch.ones(1, 4), past_length=3, length=2)


def test_without_a_mask_all_tokens_are_real():
    assert step_mask(None, past_length=3, length=2) is None


def test_the_prompt_is_read_once():
    model, lengths = decoder(), []
    model.mega.layers[0].register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    written(model, tokens(1, 6))
    assert lengths == [6] + [1] * (NEW - 1)
