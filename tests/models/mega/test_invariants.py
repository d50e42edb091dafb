"""What holds for every Mega model, whatever the lengths, chunks, masks and splits."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.models.mega.reference_cases import decoded
from tests.models.mega.tiny import DECODER, features, tiny, tokens


LONGEST = 11
ACTIVATIONS = st.sampled_from(["softmax", "laplace", "relu2"])
BIASES = st.sampled_from(["rotary", "simple"])
CHUNK_SIZES = st.sampled_from([None, 1, 3, 4, 16])
TRUNCATIONS = st.sampled_from([None, None, 1, 3])
LENGTHS = st.integers(1, LONGEST)
CONFIGS = st.fixed_dictionaries(
    {
        "attention_activation": ACTIVATIONS,
        "relative_positional_bias": BIASES,
        "chunk_size": CHUNK_SIZES,
        "truncation": TRUNCATIONS,
        "normalization_type": st.sampled_from(["scalenorm", "layernorm", "batchnorm"]),
    }
)
SEEDS = st.integers(0, 1000)


@st.composite
def splits(draw: st.DrawFn, length: int = LONGEST) -> list[int]:
    """Lengths of pieces, in order, whose sum is ``length``."""
    cuts = sorted(draw(st.sets(st.integers(1, length - 1))))
    return [end - start for start, end in zip([0, *cuts], [*cuts, length], strict=True)]


@cache
def _model(model_class: str, settings_: tuple[tuple[str, Any], ...]) -> Any:
    return tiny(model_class, **dict(settings_))


def model_of(model_class: str, config: dict[str, Any], **more: Any) -> Any:
    """The tiny model of a drawn configuration, made once."""
    chunk_size = config.get("chunk_size")
    chunking = {"use_chunking": chunk_size is not None, "chunk_size": chunk_size or -1}
    return _model(model_class, tuple(sorted({**config, **chunking, **more}.items())))


def assert_equal(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-8)


def padded(ids_L: Tensor, left: int, right: int) -> tuple[Tensor, Tensor]:
    """The sequence between pads, whose ids are arbitrary, and the mask: both (1, left + L + right)."""
    ids_BL = tokens(1, left + len(ids_L) + right, seed=99)
    ids_BL[0, left : left + len(ids_L)] = ids_L
    return ids_BL, F.pad(torch.ones(1, len(ids_L), dtype=torch.long), (left, right))


@given(config=CONFIGS, length=LENGTHS, kept=LENGTHS, seed=SEEDS)
@settings(max_examples=40)
@torch.no_grad()
def test_no_position_of_a_decoder_sees_a_later_one(config: dict[str, Any], length: int, kept: int, seed: int):
    model, ids_BL = model_of("MegaForCausalLM", config, **DECODER), tokens(2, length, seed)
    changed_BL = torch.cat([ids_BL[:, :kept], tokens(2, length, seed + 1)[:, kept:]], dim=1)
    assert_equal(model(changed_BL).logits[:, :kept], model(ids_BL).logits[:, :kept])


@given(
    config=CONFIGS, decoder=st.booleans(), length=st.integers(1, 8), left=st.integers(0, 5), right=st.integers(0, 5), seed=SEEDS
)
@settings(max_examples=60)
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(
    config: dict[str, Any], decoder: bool, length: int, left: int, right: int, seed: int
):
    model, ids_L = model_of("MegaModel", config, **(DECODER if decoder else {})), tokens(1, length, seed)[0]
    ids_BL, mask_BL = padded(ids_L, left, right)
    ours = model(ids_BL, attention_mask=mask_BL, output_attentions=True)
    assert_equal(ours.last_hidden_state[:, left : left + length], model(ids_L[None]).last_hidden_state)
    assert all(weights.isfinite().all() for weights in ours.attentions)


@given(config=CONFIGS, pads=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=3), seed=SEEDS)
@settings(max_examples=25)
@torch.no_grad()
def test_rows_of_a_batch_do_not_know_of_each_other(config: dict[str, Any], pads: list[tuple[int, int]], seed: int):
    model, ids_BL = model_of("MegaModel", config), tokens(len(pads), 9, seed)
    mask_BL = torch.stack([F.pad(torch.ones(9 - left - right), (left, right)) for left, right in pads]).bool()
    together = model(ids_BL, attention_mask=mask_BL).last_hidden_state
    for row, mask_L in enumerate(mask_BL):
        alone = model(ids_BL[row, mask_L][None]).last_hidden_state
        assert_equal(together[row, mask_L], alone[0])


HEADS = ["MegaForMaskedLM", "MegaForTokenClassification", "MegaForQuestionAnswering", "MegaForSequenceClassification"]


@given(head=st.sampled_from(HEADS), config=CONFIGS, length=st.integers(1, 8), left=st.integers(0, 4), right=st.integers(0, 4))
@settings(max_examples=40)
@torch.no_grad()
def test_heads_do_not_see_padding(head: str, config: dict[str, Any], length: int, left: int, right: int):
    model = model_of(head, config, num_labels=2 if head == "MegaForQuestionAnswering" else 3)
    ids_L = tokens(1, length)[0]
    ids_BL, mask_BL = padded(ids_L, left, right)
    ours, expected = model(ids_BL, attention_mask=mask_BL), model(ids_L[None])
    for name in ("logits", "start_logits", "end_logits"):
        if name in expected:
            whole = head == "MegaForSequenceClassification"
            assert_equal(ours[name] if whole else ours[name][:, left : left + length], expected[name])


@given(config=CONFIGS, steps=splits(), seed=SEEDS)
@settings(max_examples=60)
@torch.no_grad()
def test_decoding_with_a_cache_is_the_full_forward(config: dict[str, Any], steps: list[int], seed: int):
    model, ids_BL = model_of("MegaForCausalLM", config, **DECODER), tokens(2, LONGEST, seed)
    assert_equal(decoded(model, steps, input_ids=ids_BL), model(ids_BL).logits)


@given(config=CONFIGS, steps=splits(), source=st.integers(1, 14), seed=SEEDS)
@settings(max_examples=30)
@torch.no_grad()
def test_decoding_with_cross_attention_is_the_full_forward(config: dict[str, Any], steps: list[int], source: int, seed: int):
    model = model_of("MegaForCausalLM", config, add_cross_attention=True, **DECODER)
    mask_BS = F.pad(torch.ones(2, source - source // 3), (0, source // 3))
    call = {"encoder_hidden_states": features(2, source, seed=seed), "encoder_attention_mask": mask_BS}
    ids_BL = tokens(2, LONGEST, seed)
    assert_equal(decoded(model, steps, input_ids=ids_BL, **call), model(ids_BL, **call).logits)


@given(config=CONFIGS, steps=splits(), left=st.integers(1, 9), whole_mask=st.booleans(), cross=st.booleans(), seed=SEEDS)
@settings(max_examples=60)
@torch.no_grad()
def test_decoding_behind_left_padding_is_decoding_without(
    config: dict[str, Any], steps: list[int], left: int, whole_mask: bool, cross: bool, seed: int
):
    model, ids_BL = model_of("MegaForCausalLM", config, add_cross_attention=cross, **DECODER), tokens(2, LONGEST, seed)
    source = {"encoder_hidden_states": features(1, 6, seed=seed).expand(2, 6, 8)} if cross else {}
    source_of_one = {name: values[:1] for name, values in source.items()}
    mask_BL = torch.ones_like(ids_BL)
    mask_BL[1, :left] = 0
    past, logits, end = None, [], 0
    for step in steps:
        start, end = end, end + step
        mask = mask_BL[:, :end] if whole_mask else mask_BL[:, start:end]
        output = model(ids_BL[:, start:end], attention_mask=mask, past_key_values=past, use_cache=True, **source)
        past = output.past_key_values
        logits.append(output.logits)
    ours_BLV = torch.cat(logits, dim=1)
    assert_equal(ours_BLV[0], model(ids_BL[:1], **source_of_one).logits[0])
    assert_equal(ours_BLV[1, left:], model(ids_BL[1:, left:], **source_of_one).logits[0])


@given(config=CONFIGS, decoder=st.booleans(), length=LENGTHS, longer=st.integers(0, 3), seed=SEEDS)
@settings(max_examples=30)
@torch.no_grad()
def test_one_chunk_that_holds_everything_is_no_chunking(
    config: dict[str, Any], decoder: bool, length: int, longer: int, seed: int
):
    direction = DECODER if decoder else {}
    whole = model_of("MegaModel", {**config, "chunk_size": None}, max_positions=14, **direction)
    chunked = model_of("MegaModel", {**config, "chunk_size": length + longer}, max_positions=14, **direction)
    chunked.load_state_dict(whole.state_dict())  # the table of a chunk is the middle of the whole one
    ids_BL = tokens(2, length, seed)
    assert_equal(chunked(ids_BL).last_hidden_state, whole(ids_BL).last_hidden_state)
