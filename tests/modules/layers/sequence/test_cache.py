"""What a decoder remembers between steps."""

import pytest
import torch

from mmkit.modules.layers.sequence.cache import MIN_CAPACITY, DecoderCache, KeyValueCache


def chunks(lengths: list[int], batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randn(batch, 3, length, 4, generator=generator) for length in lengths]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad], ids=lambda m: m.__name__)
@pytest.mark.parametrize("lengths", [[1] * 5, [3, 1, 1, 2], [70, 1, 90, 1]], ids=str)
def test_keys_and_values_are_all_that_were_appended(mode, lengths):
    cache = KeyValueCache()
    keys = chunks(lengths)
    with mode():
        for count, key in enumerate(keys, start=1):
            all_keys, all_values = cache.update(key, -key)
            expected = torch.cat(keys[:count], dim=2)
            torch.testing.assert_close(all_keys, expected, rtol=0, atol=0)
            torch.testing.assert_close(all_values, -expected, rtol=0, atol=0)
    assert cache.length == sum(lengths)


def test_most_steps_write_in_place():
    cache, places = KeyValueCache(), set()
    with torch.no_grad():
        for key in chunks([1] * MIN_CAPACITY):
            places.add(cache.update(key, key)[0].data_ptr())
    assert len(places) == 2  # the first step's own tensor, and one buffer


def test_what_was_appended_first_is_not_written_to():
    cache, (first, second) = KeyValueCache(), chunks([2, 1])
    before = first.clone()
    with torch.no_grad():
        cache.update(first, first)
        cache.update(second, second)
    assert torch.equal(first, before)


def test_gradients_reach_every_step():
    cache = KeyValueCache()
    keys = [key.requires_grad_() for key in chunks([2, 1, 1])]
    for key in keys:
        all_keys, all_values = cache.update(key, 2 * key)
    (all_keys.square().sum() + all_values.sum()).backward()
    for key in keys:
        torch.testing.assert_close(key.grad, 2 * key.detach() + 2)


def test_a_cache_made_in_inference_mode_continues_outside():
    cache, (first, second, third) = KeyValueCache(), chunks([2, 1, 1])
    with torch.inference_mode():
        cache.update(first, first)
        cache.update(second, second)
    with torch.no_grad():
        keys, _ = cache.update(third, third)
    assert torch.equal(keys, torch.cat([first, second, third], dim=2))


def test_a_reordered_row_continues_another():
    cache, (first, second) = KeyValueCache(), chunks([2, 1], batch=3)
    rows = torch.tensor([2, 2, 0, 1])
    with torch.no_grad():
        cache.update(first, -first)
        cache.reorder(rows)
        keys, values = cache.update(second[rows], -second[rows])
    expected = torch.cat([first, second], dim=2)[rows]
    assert torch.equal(keys, expected)
    assert torch.equal(values, -expected)


def test_masks_of_steps_add_up_whether_they_tell_the_past_or_not():
    full = torch.tensor([[0, 1, 1, 0, 1], [1, 1, 1, 1, 1]])
    steps, whole = DecoderCache(1), DecoderCache(1)
    for cache, first in ((steps, full[:, 2:3]), (whole, full[:, :3])):
        cache.extend(2, full[:, :2])
        cache.extend(1, first)
        assert torch.equal(cache.extend(2, full[:, 3:] if cache is steps else full), full.bool())
        assert cache.get_seq_length() == 5


def test_steps_without_a_mask_are_real():
    cache = DecoderCache(1)
    assert cache.extend(2, None) is None
    assert cache.extend(1, torch.tensor([[0], [1]])).tolist() == [[True, True, False], [True, True, True]]
    assert cache.extend(1, None).tolist() == [[True, True, False, True], [True, True, True, True]]


def test_a_mask_of_another_length_is_refused():
    cache = DecoderCache(1)
    cache.extend(3, None)
    with pytest.raises(ValueError, match=r"attention_mask has 2 positions\. Give it for the 1 new tokens, or for all 4 "):
        cache.extend(1, torch.ones(2, 2))


@pytest.mark.parametrize("memory", [True, False])
def test_reordering_can_leave_the_memory_as_it_is(memory):
    cache, (own, cross) = DecoderCache(2), chunks([2, 3])
    with torch.no_grad():
        for layer in cache.layers:
            layer.self_attention.update(own, own)
            layer.cross_attention.update(cross, cross)
    cache.memory_mask_BS = torch.tensor([[1, 1, 0], [1, 1, 1]])
    cache.extend(2, torch.tensor([[0, 1], [1, 1]]))
    flip = torch.tensor([1, 0])
    cache.reorder_cache(flip, memory=memory)
    rows = flip if memory else torch.tensor([0, 1])
    assert cache.mask_BC.tolist() == [[True, True], [False, True]]
    assert cache.memory_mask_BS.tolist() == torch.tensor([[1, 1, 0], [1, 1, 1]])[rows].tolist()
    for layer in cache.layers:
        assert torch.equal(layer.self_attention.read()[0], own[flip])
        assert torch.equal(layer.cross_attention.read()[1], cross[rows])
