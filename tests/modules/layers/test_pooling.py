import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmkit.modules.layers import AttentionPool, TokenPool
from mmkit.modules.layers.pooling import eos_pool, last_pool, mean_pool


masks = st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=3).map(torch.tensor)


def tokens(mask_BN: Tensor) -> Tensor:
    return torch.randn(*mask_BN.shape, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(masks)
def test_mean_equals_numpy_over_the_real_tokens(mask_BN: Tensor) -> None:
    x_BND = tokens(mask_BN)
    expected = [x[m].mean(0) if m.any() else np.zeros(3) for x, m in zip(x_BND.numpy(), mask_BN.numpy(), strict=True)]
    np.testing.assert_allclose(mean_pool(x_BND, mask_BN), expected)


@given(masks)
def test_last_is_the_last_real_token(mask_BN: Tensor) -> None:
    x_BND = tokens(mask_BN)
    pooled = last_pool(x_BND, mask_BN.long())
    for x, mask, out in zip(x_BND, mask_BN, pooled, strict=True):
        position = max((i for i in range(4) if mask[i]), default=0)
        assert torch.equal(out, x[position])


def test_without_a_mask_all_tokens_are_real() -> None:
    x_BND = torch.randn(2, 4, 3)
    assert torch.equal(mean_pool(x_BND), x_BND.mean(1))
    assert torch.equal(last_pool(x_BND), x_BND[:, 3])


def test_eos_is_the_first_one_even_if_padding_repeats_it() -> None:
    x_BND, token_ids = torch.randn(1, 4, 3), torch.tensor([[5, 2, 2, 2]])
    assert torch.equal(eos_pool(x_BND, token_ids, 2), x_BND[:, 1])


def test_a_text_that_was_cut_before_its_end_gives_its_last_real_token() -> None:
    x_BND, token_ids = torch.randn(2, 4, 3), torch.tensor([[5, 6, 7, 0], [5, 2, 0, 0]])
    pooled = eos_pool(x_BND, token_ids, 2, torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]))
    assert torch.equal(pooled, torch.stack([x_BND[0, 2], x_BND[1, 1]]))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("cls", [[0.0]]), ("mean", [[1.0]]), ("last", [[2.0]]), ("eos", [[1.0]]), ("none", [[[0.0], [1.0], [2.0], [3.0]]])],
)
def test_pooling_by_name(pooling: str, expected: list) -> None:
    pool = TokenPool(pooling, eos_token_id=9)
    x_BND = torch.arange(4.0).reshape(1, 4, 1)
    assert pool(x_BND, torch.tensor([[1, 1, 1, 0]]), torch.tensor([[1, 9, 9, 0]])).tolist() == expected


def test_an_unknown_pooling_lists_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"Unknown pooling 'max'. Allowed: cls, mean, last, none, eos."):
        TokenPool("max")


def test_eos_needs_its_id() -> None:
    with pytest.raises(ValueError, match="pooling='eos' needs eos_token_id"):
        TokenPool("eos")


def test_attention_pooling_equals_a_naive_loop() -> None:
    pool = AttentionPool(4, num_heads=2).double()
    x_BND, mask_BN = torch.randn(2, 3, 4, dtype=torch.float64), torch.tensor([[1, 1, 1], [0, 1, 1]])
    query = pool.to_query(pool.query)[0, 0]
    expected = []
    for x_ND, mask_N in zip(x_BND, mask_BN, strict=True):
        key, value = pool.to_key_value(x_ND[mask_N.bool()]).chunk(2, dim=1)
        heads = [(key[:, part] @ query[part] / 2**0.5).softmax(0) @ value[:, part] for part in (slice(0, 2), slice(2, 4))]
        mixed = pool.proj(torch.cat(heads))
        expected.append(mixed + pool.mlp(pool.norm(mixed)))
    assert torch.allclose(pool(x_BND, mask_BN), torch.stack(expected))


def test_attention_pooling_does_not_depend_on_the_order_of_tokens() -> None:
    pool, x_BND = AttentionPool(4, num_heads=2), torch.randn(2, 5, 4)
    assert torch.allclose(pool(x_BND), pool(x_BND.flip(1)), atol=1e-6)


def test_heads_of_attention_pooling_must_divide_the_embedding() -> None:
    with pytest.raises(ValueError, match="num_heads=8 must divide the embedding size 4"):
        AttentionPool(4)
