"""What the cache holds, and what can be done with it between steps."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from mmkit.models.mega import MegaCache, MegaConfig
from mmkit.models.mega.bias_table import BiasTable
from mmkit.models.mega.cache import as_mega_cache
from mmkit.models.mega.growing_buffer import MIN_CAPACITY
from mmkit.models.mega.relative_bias import relative_bias
from mmkit.models.mega.row_positions import RowPositions
from tests.models.mega.tiny import DECODER, SIZES, features, tiny, tokens


CHUNKED = {"use_chunking": True, "chunk_size": 4}
KINDS = pytest.mark.parametrize("config", [{}, CHUNKED, {"truncation": 3}], ids=["whole", "chunks", "truncated"])
MASK = torch.arange(11) >= torch.tensor([[0], [2], [5]])


# Shapes: B batch, L positions.
def decoder(**config: Any) -> Any:
    return tiny("MegaForCausalLM", **DECODER, **config)


def config_of(**config: Any) -> MegaConfig:
    return MegaConfig(**{**SIZES, **DECODER, **config})


def read(model: Any, ids_BL: Tensor, past: Any = None, **call: Any) -> tuple[Tensor, MegaCache]:
    """Logits of the tokens, and the cache after them."""
    with torch.no_grad():
        output = model(ids_BL, past_key_values=past, use_cache=True, **call)
    return output.logits, output.past_key_values


@KINDS
@pytest.mark.parametrize("begun", [1, 6, 8])
def test_beams_continue_the_rows_that_they_chose(config: dict[str, Any], begun: int):
    model, ids_BL, chosen = decoder(**config), tokens(3, 11), torch.tensor([2, 2, 0])
    cache = read(model, ids_BL[:, :begun], attention_mask=MASK[:, :begun])[1]
    cache.reorder_cache(chosen)
    logits = read(model, ids_BL[chosen, begun:], cache, attention_mask=MASK[chosen])[0]
    whole = read(model, ids_BL[chosen], attention_mask=MASK[chosen])[0]
    # A row that has no real token before the step begins in it.
    real = MASK[chosen, begun:]
    torch.testing.assert_close(logits[real], whole[:, begun:][real])


@KINDS
def test_rows_can_be_picked_and_repeated(config: dict[str, Any]):
    model, ids_BL, picked = decoder(**config), tokens(3, 11), torch.tensor([1, 2])
    cache = read(model, ids_BL[:, :7], attention_mask=MASK[:, :7])[1]
    cache.batch_select_indices(picked)
    cache.batch_repeat_interleave(2)
    assert cache.batch_size == 4
    rows = picked.repeat_interleave(2)
    logits = read(model, ids_BL[rows, 7:], cache)[0]
    torch.testing.assert_close(logits, read(model, ids_BL[rows], attention_mask=MASK[rows])[0][:, 7:])


@KINDS
@pytest.mark.parametrize("gradients", [True, False])
def test_a_copy_goes_its_own_way(config: dict[str, Any], gradients: bool):
    model, ids_BL = decoder(**config), tokens(2, 9)
    with torch.set_grad_enabled(gradients):
        cache = model(ids_BL[:, :6], use_cache=True).past_key_values
    other = copy.deepcopy(cache)
    read(model, tokens(2, 3, seed=9), other)
    assert (cache.get_seq_length(), other.get_seq_length()) == (6, 9)
    torch.testing.assert_close(read(model, ids_BL[:, 6:], cache)[0], read(model, ids_BL)[0][:, 6:])


@KINDS
@pytest.mark.parametrize("begun", [5, 8])
@pytest.mark.parametrize("cross", [False, True], ids=["", "cross-attention"])
@pytest.mark.parametrize("padded", [False, True], ids=["", "padded"])
def test_the_tuple_of_the_port_goes_back_and_forth(config: dict[str, Any], begun: int, cross: bool, padded: bool):
    model, ids_BL = decoder(**config, add_cross_attention=cross), tokens(3, 11)
    source = {"encoder_hidden_states": features(3, 5)} if cross else {}
    mask = MASK if padded else None
    begun_mask = None if mask is None else mask[:, :begun]
    cache = read(model, ids_BL[:, :begun], attention_mask=begun_mask, **source)[1]
    past = cache.to_legacy_cache()
    assert [len(layer) for layer in past] == [5 if cross else 3] * 2
    again = MegaCache.from_legacy_cache(past, model.config, begun_mask, length=begun)
    logits = read(model, ids_BL[:, begun:], again, **source)[0]
    expected = read(model, ids_BL, attention_mask=mask, **source)[0][:, begun:]
    torch.testing.assert_close(logits, expected)
    assert all(
        (a is b is None) or a.equal(b)
        for mine, theirs in zip(cache, past, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


def test_a_tuple_is_taken_by_the_model():
    model, ids_BL = decoder(), tokens(2, 9)
    past = read(model, ids_BL[:, :6])[1].to_legacy_cache()
    torch.testing.assert_close(read(model, ids_BL[:, 6:], past)[0], read(model, ids_BL)[0][:, 6:])


def test_the_tuple_has_the_shapes_that_are_documented():
    model = decoder(add_cross_attention=True)
    cache = read(model, tokens(2, 6), encoder_hidden_states=features(2, 5))[1]
    shapes = [tuple(tensor.shape) for tensor in cache[0] if tensor is not None]
    assert shapes == [(2, 6, 4), (2, 6, 12), (2, 8, 3), (2, 5, 4), (2, 5, 8)]
    assert len(cache) == len(list(cache)) == 2


def test_the_tuple_has_no_keys_at_the_end_of_a_chunk():
    cache = read(decoder(**CHUNKED), tokens(2, 8))[1]
    assert cache[0][:2] == (None, None)
    assert read(decoder(**CHUNKED), tokens(2, 6))[1][0][0].shape == (2, 2, 4)


def test_later_steps_do_not_write_into_a_tuple():
    model = decoder()
    cache = read(model, tokens(1, 4))[1]
    read(model, tokens(1, 1), cache)
    keys = cache[0][0]
    kept = keys.clone()
    cache.activate_past_recording()
    read(model, tokens(1, 2), cache)
    cache.crop(-2)
    read(model, tokens(1, 2, seed=5), cache)
    assert keys.equal(kept)


def test_a_tuple_that_does_not_tell_the_position_is_refused():
    model = decoder(**CHUNKED, add_cross_attention=True)
    past = read(model, tokens(2, 6), encoder_hidden_states=features(2, 5))[1].to_legacy_cache()
    with pytest.raises(ValueError, match=r"does not tell the position.*Give the cache itself"):
        as_mega_cache(past, model.config)


@pytest.mark.parametrize(
    ("past", "error", "message"),
    [
        (((None,) * 3,), ValueError, "past has 1 layers, the configuration 2"),
        (((None,) * 4,) * 2, ValueError, "3 tensors, or 5 with cross-attention; 4 were given"),
        ("no cache", TypeError, "cannot continue a str"),
        (MegaCache(config_of(num_hidden_layers=3)), ValueError, "cache has 3 layers, the model 2"),
    ],
    ids=["layers of a tuple", "tensors of a layer", "type", "layers of a cache"],
)
def test_a_past_that_does_not_fit_is_refused(past: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        as_mega_cache(past, config_of())


def test_an_empty_cache_or_tuple_gives_way_to_an_own_cache():
    cache = as_mega_cache(DynamicCache(), config_of())
    assert isinstance(cache, MegaCache)
    assert as_mega_cache(cache, config_of()) is cache
    assert as_mega_cache(None, config_of()).get_seq_length() == 0
    assert as_mega_cache((), config_of()).get_seq_length() == 0


@KINDS
def test_tokens_are_taken_back(config: dict[str, Any]):
    model, ids_BL = decoder(**config), tokens(2, 12)
    cache = MegaCache(model.config)
    cache.activate_past_recording()
    read(model, torch.cat([ids_BL[:, :5], tokens(2, 4, seed=8)], 1), cache)
    cache.crop(-4)
    for step in (5, 6, 7):
        read(model, ids_BL[:, step : step + 1], cache)
    cache.crop(-1)
    cache.crop(0)
    assert cache.get_seq_length() == 7
    torch.testing.assert_close(read(model, ids_BL[:, 7:], cache)[0], read(model, ids_BL)[0][:, 7:])


@KINDS
def test_everything_can_be_taken_back(config: dict[str, Any]):
    model, ids_BL = decoder(**config), tokens(2, 6)
    cache = MegaCache(model.config)
    cache.activate_past_recording()
    read(model, tokens(2, 5, seed=8), cache)
    cache.crop(-5)
    torch.testing.assert_close(read(model, ids_BL, cache)[0], read(model, ids_BL)[0])


@KINDS
def test_what_was_not_recorded_cannot_be_taken_back(config: dict[str, Any]):
    model = decoder(**config)
    cache = read(model, tokens(1, 5))[1]
    cache.crop(0)
    with pytest.raises(RuntimeError, match=r"0 were recorded since the last crop. Call cache.activate_past_recording"):
        cache.crop(-1)
    cache.activate_past_recording()
    read(model, tokens(1, 2), cache)
    with pytest.raises(RuntimeError, match="Cannot take back 3 tokens: 2 were recorded"):
        cache.crop(-3)


def test_a_failed_crop_changes_nothing():
    model, ids_BL = decoder(**CHUNKED), tokens(1, 8)
    cache = read(model, ids_BL[:, :6])[1]
    with pytest.raises(RuntimeError):
        cache.crop(-1)
    torch.testing.assert_close(read(model, ids_BL[:, 6:], cache)[0], read(model, ids_BL)[0][:, 6:])


def test_a_positive_number_is_the_length_to_go_back_to():
    model, ids_BL = decoder(**CHUNKED), tokens(1, 8)
    cache = MegaCache(model.config)
    cache.activate_past_recording()
    read(model, torch.cat([ids_BL[:, :6], tokens(1, 3, seed=8)], 1), cache)
    cache.crop(20)
    assert cache.get_seq_length() == 9
    read(model, tokens(1, 2, seed=8), cache)
    cache.crop(9)
    assert cache.get_seq_length() == 9


def test_the_state_is_not_told_before_the_step_after_a_crop():
    model = decoder()
    cache = MegaCache(model.config)
    cache.activate_past_recording()
    read(model, tokens(1, 5), cache)
    cache.crop(-1)
    with pytest.raises(ValueError, match="Convert after the next step"):
        cache.to_legacy_cache()


def test_recording_stops_keeping_inputs_when_it_is_switched_off():
    model = decoder(**CHUNKED)
    cache = MegaCache(model.config)
    cache.activate_past_recording()
    read(model, tokens(1, 5), cache)
    for layer in cache.layers:
        layer.record_past = False
    read(model, tokens(1, 1), cache)
    with pytest.raises(RuntimeError, match="0 were recorded"):
        cache.crop(-1)


@KINDS
def test_a_reset_cache_is_like_a_new_one(config: dict[str, Any]):
    model, ids_BL = decoder(**config), tokens(2, 6)
    cache = read(model, tokens(3, 7))[1]
    cache.reset()
    assert (cache.get_seq_length(), cache.batch_size, cache.is_initialized) == (0, -1, False)
    torch.testing.assert_close(read(model, ids_BL, cache)[0], read(model, ids_BL)[0])


def test_keys_are_written_in_place_and_copied_only_when_their_room_doubles():
    model = decoder(max_positions=512)
    cache = read(model, tokens(1, 3))[1]
    moves, place = 0, None
    for _ in range(3 * MIN_CAPACITY):
        read(model, tokens(1, 1), cache)
        moves += place != cache.layers[0].attention.keys.data_ptr()
        place = cache.layers[0].attention.keys.data_ptr()
    assert moves == 3


def test_a_prompt_that_is_not_continued_copies_nothing():
    layer = MegaCache(config_of()).layers[0]
    keys, values = torch.randn(1, 5, 4), torch.randn(1, 5, 12)
    layer.update(keys, values)
    assert layer.keys.data_ptr() == keys.data_ptr()


def test_a_chunked_cache_does_not_grow():
    model = decoder(**CHUNKED)
    cache = read(model, tokens(1, 3))[1]
    for _ in range(21):
        read(model, tokens(1, 1), cache)
    assert cache.get_seq_length() == 24
    assert cache.layers[0].attention.keys.shape[1] == CHUNKED["chunk_size"]


def test_a_step_computes_no_bias_that_it_has_read_before():
    bias, table = relative_bias(config_of()), BiasTable()
    calls = []
    original = bias.by_distance
    bias.by_distance = lambda first, last: calls.append((first, last)) or original(first, last)
    with torch.no_grad():
        for offset in range(200):
            torch.testing.assert_close(table.row(bias, offset, offset + 1, offset), original(-offset, 0))
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["rotary", "simple"])
def test_rows_with_positions_of_their_own_read_the_same_bias(kind: str):
    bias, offset_B = relative_bias(config_of(relative_positional_bias=kind)), torch.tensor([0, 3, 6])
    rows = []
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            rows.append(BiasTable().row(bias, offset_B, 7, farthest=6))
    torch.testing.assert_close(rows[0], rows[1])
    torch.testing.assert_close(rows[0][1, 0], bias.by_distance(-3, 3))


def test_a_simple_bias_is_read_to_its_end_and_not_beyond():
    bias, table = relative_bias(config_of(relative_positional_bias="simple")), BiasTable()
    with torch.no_grad():
        assert table.row(bias, 31, 32, 31).shape == (32,)
        with pytest.raises(ValueError, match="knows distances below 32; 32 was asked for"):
            table.row(bias, 32, 33, 32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_cache_has_the_dtype_of_the_model_and_the_state_at_least_fp32(dtype: torch.dtype):
    model = decoder().to(dtype)
    cache = read(model, tokens(1, 3))[1]
    read(model, tokens(1, 1), cache)
    layer = cache.layers[0]
    assert layer.keys.dtype == layer.values.dtype == dtype
    assert layer.ema.state.dtype == torch.promote_types(dtype, torch.float32)


def test_steps_of_another_precision_widen_the_cache():
    model, ids_BL = decoder().float(), tokens(2, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cache = read(model, ids_BL[:, :5])[1]
    logits = read(model, ids_BL[:, 5:6], cache)[0]
    read(model, ids_BL[:, 6:], cache)
    assert cache.layers[1].keys.dtype == torch.float32
    torch.testing.assert_close(logits, read(model, ids_BL)[0][:, 5:6], rtol=0.1, atol=0.1)


def test_the_cache_tells_transformers_what_it_can():
    cache = MegaCache(config_of())
    assert cache.layers[0].is_croppable
    assert not cache.is_compileable
    assert cache.layers[0].get_max_length() == cache.layers[0].get_max_cache_shape() == -1
    cache.layers[0].update(torch.zeros(2, 3, 4), torch.zeros(2, 3, 12))
    assert cache.get_mask_sizes(2, 0) == (5, 0)
    assert "MegaCacheLayer" in repr(cache)


def test_a_row_begins_at_its_first_real_column_however_late():
    positions = RowPositions()
    positions.advance(2, torch.tensor([[False, True], [False, False], [True, False]]))
    positions.advance(2, torch.tensor([[False, True], [False, True], [True, True]]))
    assert positions.before(0).tolist() == [3, 1, 4]
    positions.crop(2)
    assert positions.before(0).tolist() == [1, 0, 2]
