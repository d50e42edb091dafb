import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkit.modules.layers.sequence import SequenceAttention
from mmkit.modules.layers.sequence.cache import KeyValueCache


# Shapes: B batch, T queries, S keys, D width, H heads, K dim of a head.

DIM, HEADS, MEMORY = 8, 2, 6
KINDS = [(causal, position) for causal in (False, True) for position in (None, "rotary", "alibi")]
KIND_IDS = [f"{'causal' if causal else 'bidirectional'}-{position}" for causal, position in KINDS]


def made(**options: object) -> SequenceAttention:
    torch.manual_seed(0)
    return SequenceAttention(DIM, HEADS, **options).double().eval()  # pyright: ignore[reportArgumentType]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_rotation(x_K: Tensor, position: int) -> Tensor:
    turned, half = x_K.clone(), len(x_K) // 2
    for i in range(half):
        angle = position * 10000 ** (-2 * i / len(x_K))
        turned[i] = x_K[i] * math.cos(angle) - x_K[i + half] * math.sin(angle)
        turned[i + half] = x_K[i] * math.sin(angle) + x_K[i + half] * math.cos(angle)
    return turned


def naive_slope(head: int) -> float:
    return 2 ** (-8 / HEADS * (head + 1))  # HEADS is a power of two


def naive_row(attention: SequenceAttention, q_TD: Tensor, k_SD: Tensor, v_SD: Tensor, real_S: list[bool]) -> Tensor:
    """One example, by loops over heads, queries and keys."""
    size, rows = DIM // HEADS, []
    for i, query in enumerate(q_TD):
        parts = []
        for head in range(HEADS):
            cut = slice(head * size, (head + 1) * size)
            scores, values = [], []
            for j, key in enumerate(k_SD):
                if not real_S[j] or (attention.causal and j > i):
                    continue
                q_K, k_K = query[cut], key[cut]
                if attention.position == "rotary":
                    q_K, k_K = naive_rotation(q_K, i), naive_rotation(k_K, j)
                score = (q_K @ k_K) / math.sqrt(size)
                scores.append(score - naive_slope(head) * abs(i - j) if attention.position == "alibi" else score)
                values.append(v_SD[j, cut])
            parts.append(sum(w * v for w, v in zip(torch.stack(scores).softmax(0), values, strict=True)))
        rows.append(torch.cat(parts))  # pyright: ignore[reportArgumentType]
    return torch.stack(rows)


@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize(("causal", "position"), KINDS, ids=KIND_IDS)
def test_self_attention_is_that_of_loops_over_heads_queries_and_keys(causal: bool, position: str | None, padded: bool) -> None:
    attention, x_BTD = made(causal=causal, position=position), random(2, 5, DIM)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]) if padded else torch.ones(2, 5)
    mixed_BTD = attention(x_BTD, mask if padded else None)
    for x_TD, real, mixed_TD in zip(x_BTD, mask.bool().tolist(), mixed_BTD, strict=True):
        expected = attention.output(naive_row(attention, *attention.qkv(x_TD).chunk(3, dim=-1), real))
        torch.testing.assert_close(mixed_TD[real], expected[real])


def test_cross_attention_is_that_of_loops_over_heads_queries_and_keys() -> None:
    attention, x_BTD, memory = made(memory_dim=MEMORY), random(2, 3, DIM), random(2, 4, MEMORY, seed=1)
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0]])
    mixed_BTD = attention(x_BTD, memory_BSM=memory, memory_mask_BS=mask)
    for row in range(2):
        keys, values = attention.key_value(memory[row]).chunk(2, dim=-1)
        expected = attention.output(naive_row(attention, attention.query(x_BTD[row]), keys, values, mask[row].bool().tolist()))
        torch.testing.assert_close(mixed_BTD[row], expected)


@pytest.mark.parametrize(("causal", "position"), KINDS, ids=KIND_IDS)
@settings(max_examples=25)
@given(length=st.integers(1, 5), front=st.integers(0, 3), behind=st.integers(0, 3), seed=st.integers(0, 99))
def test_padding_never_changes_a_real_position(
    causal: bool, position: str | None, length: int, front: int, behind: int, seed: int
) -> None:
    attention, x = made(causal=causal, position=position), random(2, length, DIM, seed=seed)
    padded = torch.cat([random(2, front, DIM, seed=seed + 1), x, random(2, behind, DIM, seed=seed + 2)], dim=1)
    mask = torch.zeros(2, padded.shape[1])
    mask[:, front : front + length] = 1
    torch.testing.assert_close(attention(padded, mask)[:, front : front + length], attention(x))


@settings(max_examples=25)
@given(length=st.integers(1, 5), front=st.integers(0, 3), behind=st.integers(0, 3), seed=st.integers(0, 99))
def test_padding_of_the_memory_never_changes_a_position(length: int, front: int, behind: int, seed: int) -> None:
    attention, x, memory = made(memory_dim=MEMORY), random(2, 3, DIM), random(2, length, MEMORY, seed=seed)
    pads = random(2, front, MEMORY, seed=seed + 1), random(2, behind, MEMORY, seed=seed + 2)
    padded = torch.cat([pads[0], memory, pads[1]], dim=1)
    mask = torch.zeros(2, padded.shape[1])
    mask[:, front : front + length] = 1
    torch.testing.assert_close(
        attention(x, memory_BSM=padded, memory_mask_BS=mask), attention(x, memory_BSM=memory), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("position", [None, "rotary", "alibi"])
@settings(max_examples=25)
@given(changed=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_causal_position_ignores_the_future(position: str | None, changed: int, seed: int) -> None:
    attention, x = made(causal=True, position=position), random(1, 6, DIM, seed=seed)
    other = x.clone()
    other[:, changed:] = random(1, 6 - changed, DIM, seed=seed + 1)
    torch.testing.assert_close(attention(x)[:, :changed], attention(other)[:, :changed])
    assert not torch.allclose(attention(x)[:, changed:], attention(other)[:, changed:])


@pytest.mark.parametrize("no_grad", [True, False], ids=["no_grad", "with_grad"])
@pytest.mark.parametrize("position", [None, "rotary", "alibi"])
@settings(max_examples=20)
@given(steps=st.lists(st.integers(1, 3), min_size=1, max_size=4), front=st.integers(0, 2), seed=st.integers(0, 99))
def test_steps_with_a_cache_give_what_the_whole_sequence_gives(
    position: str | None, no_grad: bool, steps: list[int], front: int, seed: int
) -> None:
    length = sum(steps)
    attention, x = made(causal=True, position=position), random(2, length, DIM, seed=seed)
    mask = torch.ones(2, length, dtype=torch.long)
    mask[1, : min(front, length - 1)] = 0
    with torch.set_grad_enabled(not no_grad):
        cache, pieces, end = KeyValueCache(), [], 0
        for step in steps:
            start, end = end, end + step
            pieces.append(attention(x[:, start:end], mask[:, :end] if front else None, cache=cache))
        whole = attention(x, mask if front else None)
    real = mask.bool()
    torch.testing.assert_close(torch.cat(pieces, dim=1)[real], whole[real])


def test_cross_attention_projects_its_memory_once() -> None:
    attention, x, memory = made(memory_dim=MEMORY), random(2, 3, DIM), random(2, 4, MEMORY)
    mask, cache = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]), KeyValueCache()
    first = attention(x[:, :2], memory_BSM=memory, memory_mask_BS=mask, cache=cache)
    second = attention(x[:, 2:], memory_mask_BS=mask, cache=cache)
    whole = attention(x, memory_BSM=memory, memory_mask_BS=mask)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


@pytest.mark.parametrize(("causal", "position"), KINDS, ids=KIND_IDS)
def test_a_row_of_padding_gives_finite_values_and_gradients(causal: bool, position: str | None) -> None:
    attention, x = made(causal=causal, position=position), random(2, 3, DIM).requires_grad_()
    mixed = attention(x, torch.tensor([[0, 0, 0], [0, 1, 1]]))
    mixed.sum().backward()
    assert mixed.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_row_whose_memory_is_padding_gathers_zeros_and_hands_it_no_gradient() -> None:
    attention, x = made(memory_dim=MEMORY), random(2, 3, DIM)
    memory = random(2, 4, MEMORY, seed=1).requires_grad_()
    mixed = attention(x, memory_BSM=memory, memory_mask_BS=torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]]))
    mixed.square().sum().backward()
    torch.testing.assert_close(mixed[0], attention.output.bias.expand(3, -1))
    assert memory.grad is not None
    assert memory.grad[0].abs().sum() == 0
    assert memory.grad[1, :2].abs().min() > 0


def test_head_scale_multiplies_the_output_of_every_head() -> None:
    attention, x = made(head_scale=True), random(1, 3, DIM)
    assert attention.head_scale is not None
    attention.head_scale.data = torch.tensor([2.0, -1.0]).double()
    plain = made()
    plain.output.weight.data[:, : DIM // HEADS] *= 2
    plain.output.weight.data[:, DIM // HEADS :] *= -1
    torch.testing.assert_close(attention(x), plain(x))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (None, False)), ({"causal": True}, (None, True)), ({"causal": True, "position": "rotary"}, (None, True))],
    ids=["bidirectional", "causal", "rotary"],
)
def test_without_padding_no_mask_reaches_the_kernel(options: dict, expected: tuple) -> None:
    context = made(**options).context(random(2, 5, DIM))
    assert (context.mask, context.is_causal) == expected


def test_one_new_position_without_padding_needs_no_mask() -> None:
    context = made(causal=True).context(random(2, 1, DIM), num_past=4)
    assert (context.mask, context.is_causal) == (None, False)


def test_a_shared_context_is_that_of_the_layer_itself() -> None:
    attention, x, mask = made(causal=True, position="alibi"), random(2, 3, DIM), torch.tensor([[1, 1, 1], [0, 1, 1]])
    assert torch.equal(attention(x, context=attention.context(x, mask)), attention(x, mask))


@pytest.mark.parametrize("position", ["rotary", "alibi"])
def test_compiled_for_any_length_it_gives_the_same(position: str | None) -> None:
    attention = made(causal=True, position=position)
    compiled = torch.compile(attention, backend="eager", fullgraph=True, dynamic=True)
    for length in (5, 3, 1):
        x = random(2, length, DIM)
        torch.testing.assert_close(compiled(x), attention(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 8, "num_heads": 3}, "num_heads=3 must divide the width 8"),
        ({"dim": 8, "num_heads": 2, "position": "sine"}, "Unknown position 'sine'. Allowed: 'rotary', 'alibi', None"),
        ({"dim": 6, "num_heads": 2, "position": "rotary"}, "even size, not 6 / 2 = 3"),
        ({"dim": 8, "num_heads": 2, "memory_dim": 4, "causal": True}, "no order"),
        ({"dim": 8, "num_heads": 2, "memory_dim": 4, "position": "alibi"}, "no order"),
    ],
)
def test_what_cannot_work_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceAttention(**options)


def test_a_mask_of_the_new_positions_alone_is_refused() -> None:
    attention, cache = made(causal=True), KeyValueCache()
    attention(random(1, 2, DIM), cache=cache)
    with pytest.raises(ValueError, match="mask has 1 columns, but there are 1 tokens and 2 in the cache"):
        attention(random(1, 1, DIM), torch.ones(1, 1), cache=cache)


def test_cross_attention_without_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="needs memory_BSM"):
        made(memory_dim=MEMORY)(random(1, 1, DIM))
