"""Sums over tokens, and their ratios, against a loop."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.constants import IGNORED_LABEL
from mmkit.modules.metrics import TokenPrediction
from mmkit.modules.metrics.token_prediction import token_ratios, token_sums


def tokens(seed, batch, length, vocabulary=5):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, length, vocabulary, generator=generator)
    labels = torch.randint(vocabulary, (batch, length), generator=generator)
    return logits, labels.masked_fill(torch.rand(batch, length, generator=generator) < 0.3, IGNORED_LABEL)


def looped(logits, labels):
    nll, hits, number = 0.0, 0, 0
    for row, label in zip(logits.double().flatten(0, 1).numpy(), labels.flatten().tolist(), strict=True):
        if label != IGNORED_LABEL:
            nll, hits, number = nll + np.log(np.exp(row).sum()) - row[label], hits + (row.argmax() == label), number + 1
    return nll, hits, number


@given(seed=st.integers(0, 99), sizes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6)), min_size=1, max_size=4))
def test_metric_is_that_of_all_tokens_however_they_are_batched(seed, sizes):
    metric, parts = TokenPrediction(), []
    for number, size in enumerate(sizes):
        logits, labels = tokens(seed + number, *size)
        metric.update(logits, labels, num_bytes=2 * int((labels >= 0).sum()))
        parts.append(looped(logits, labels))
    nll, hits, number = (sum(values) for values in zip(*parts, strict=True))
    found = {name: value.item() for name, value in metric.compute().items()}
    if number == 0:
        assert found == {}
        return
    assert found["loss"] == pytest.approx(nll / number, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nll / number), rel=1e-5)
    assert found["accuracy"] == pytest.approx(hits / number)
    assert found["bits_per_byte"] == pytest.approx(nll / number / math.log(2) / 2, rel=1e-5)


def test_label_smoothing_is_that_of_torch_and_changes_only_the_loss():
    logits, labels = tokens(0, 2, 4)
    sums, plain = token_sums(logits, labels, 0.1), token_sums(logits, labels)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits.flatten(0, 1), labels.flatten()) * plain.num_tokens
    torch.testing.assert_close(sums.loss, expected)
    torch.testing.assert_close(sums.nll, plain.nll)


def test_half_precision_is_widened():
    logits, labels = tokens(0, 2, 4)
    assert token_sums(logits.bfloat16(), labels).loss.dtype == torch.float32
    torch.testing.assert_close(token_sums(logits.bfloat16(), labels).nll, token_sums(logits.bfloat16().float(), labels).nll)


def test_sums_are_kept_in_double_precision_in_a_task_of_half_precision():
    metric, batches = TokenPrediction().to(torch.bfloat16), [tokens(seed, 2, 4) for seed in range(50)]
    for logits, labels in batches:
        metric.update(logits, labels)
    assert metric.nll.dtype == metric.loss.dtype == torch.float64
    nll, _, number = (sum(values) for values in zip(*(looped(*batch) for batch in batches), strict=True))
    assert metric.compute()["loss"].item() == pytest.approx(nll / number, rel=1e-6)


def test_without_tokens_there_is_nothing_and_a_hopeless_model_is_infinitely_perplexed():
    assert token_ratios({"loss": 0.0, "nll": 0.0, "num_tokens": 0, "num_correct": 0}) == {}
    assert token_ratios({"loss": 1e6, "nll": 1e6, "num_tokens": 1, "num_correct": 0})["perplexity"] == math.inf
