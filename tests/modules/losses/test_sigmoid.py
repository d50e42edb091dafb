import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.modules.losses import SigmoidLoss, tiles
from mmkit.modules.losses.sigmoid import sigmoid_loss


PAIR = SimpleNamespace(modalities=("rgb", "text"), weight=2.0)


def ids_of(numbers):
    return torch.tensor([[0, n] for n in numbers], dtype=torch.long).reshape(-1, 2)


def random_rows(num_rows, seed, size=3):
    return torch.tensor(np.random.default_rng(seed).normal(size=(num_rows, size)))


def naive_loss(a, b, ids_a, ids_b, scale, bias):
    rows, columns = [i for i in range(len(a)) if ids_a[i] in ids_b], [j for j in range(len(b)) if ids_b[j] in ids_a]
    total = 0.0
    for i, j in itertools.product(rows, columns):
        sign = 1 if ids_a[i] == ids_b[j] else -1
        total += math.log1p(math.exp(-sign * (scale * float(a[i] @ b[j]) + bias)))
    return 2 * total / (len(rows) + len(columns)) if rows else 0.0


@pytest.mark.filterwarnings("ignore:No example of a batch")
@pytest.mark.parametrize("tile_size", [2**21, 2], ids=["dense", "tiled"])
def test_loss_is_that_of_a_naive_loop(tile_size):
    numbers = st.lists(st.integers(0, 5), max_size=6)

    @settings(max_examples=60)
    @given(numbers, numbers, st.integers(0, 100))
    def check(ids_a, ids_b, seed):
        a, b = random_rows(len(ids_a), seed), random_rows(len(ids_b), seed + 1)
        loss = SigmoidLoss(init_logit_bias=-1.5).double()
        value = loss(
            {"rgb_embedding": a, "text_embedding": b}, {"rgb": ids_of(ids_a), "text": ids_of(ids_b)}, torch.tensor(3.0), [PAIR]
        )
        assert value.item() == pytest.approx(2 * naive_loss(a, b, ids_a, ids_b, 3.0, -1.5), rel=1e-6, abs=1e-6)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_LOGITS", tile_size)
        check()


@pytest.mark.parametrize("tile_size", [2**21, 2], ids=["dense", "tiled"])
def test_gradients_are_exact(tile_size, monkeypatch):
    monkeypatch.setattr(tiles, "TILE_LOGITS", tile_size)
    rows, columns = torch.tensor([0, 1, 1, 3]), torch.tensor([2, 0, 1, 3])
    scale, bias = torch.tensor(2.0, dtype=torch.float64), torch.tensor(-1.0, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (random_rows(4, 0), random_rows(4, 1), scale, bias)]
    assert torch.autograd.gradcheck(lambda a, b, s, c: sigmoid_loss(a, b, rows, columns, s, c), inputs)


def test_backward_may_run_twice(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_LOGITS", 2)
    a, index = random_rows(4, 0).requires_grad_(), torch.arange(4)
    value = sigmoid_loss(a, random_rows(4, 1), index, index, torch.tensor(2.0), torch.tensor(-1.0))
    (first,) = torch.autograd.grad(value, a, retain_graph=True)
    (second,) = torch.autograd.grad(3 * value, a)
    torch.testing.assert_close(second, 3 * first)


def test_bias_is_a_parameter_that_starts_at_minus_ten():
    assert {name: x.item() for name, x in SigmoidLoss().named_parameters()} == {"logit_bias": -10.0}


def test_batch_without_pairs_gives_zero_gradients_to_the_bias_too():
    loss, a = SigmoidLoss(), torch.ones(2, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="No example of a batch"):
        value = loss({"rgb_embedding": a}, {"rgb": ids_of([0, 1])}, torch.tensor(1.0), [PAIR])
    value.backward()
    assert value == 0
    assert loss.logit_bias.grad == 0
    assert a.grad is not None
    assert not a.grad.any()


@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
def test_half_precision_is_summed_in_float32(autocast, monkeypatch):
    monkeypatch.setattr(tiles, "TILE_LOGITS", 6)
    halves = [random_rows(6, seed, 8).bfloat16().requires_grad_() for seed in (0, 1)]
    singles = [x.detach().float().requires_grad_() for x in halves]
    index, scale, bias = torch.arange(6), torch.tensor(10.0), torch.tensor(-10.0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = sigmoid_loss(*halves, index, index, scale, bias)
    value.backward()
    expected = sigmoid_loss(*singles, index, index, scale, bias)
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(halves[1].grad, singles[1].grad.bfloat16())
