"""Ratios over an epoch, against sums over its examples one by one."""

import math

import numpy as np
import pytest
import torch

from mmkit.modules.metrics.sequence_reconstruction import SequenceReconstruction, exact_matches


def epoch(seed=0):
    """Batches of different sizes and lengths: scores and labels."""
    generator = torch.Generator().manual_seed(seed)
    for size, length in ((2, 5), (3, 2), (1, 4)):
        labels = torch.randint(0, 7, (size, length), generator=generator)
        labels[0, length - 1 :] = -100
        yield torch.randn(size, length, 7, generator=generator), labels


def test_ratios_are_those_of_all_examples_at_once():
    metric, nll, tokens, hits, examples = SequenceReconstruction(), 0.0, 0, 0, 0
    for logits, labels in epoch():
        metric.update(logits, labels)
        x = logits.double().numpy()
        log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
        for b, t in (labels != -100).nonzero().tolist():
            right = int(labels[b, t])
            nll, tokens, hits = nll - log_p[b, t, right], tokens + 1, hits + (log_p[b, t].argmax() == right)
        examples += len(labels)
    expected = {
        "loss": nll / tokens, "perplexity": math.exp(nll / tokens), "accuracy": hits / tokens,
        "loss_per_example": nll / examples,
    }  # fmt: skip
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(expected, rel=1e-5)


def test_exact_matches_end_where_their_target_ends():
    labels = torch.tensor([[5, 6, 2], [5, 2, -100], [5, 6, 2], [5, 2, -100]])
    same = torch.tensor([[5, 6, 2, 0], [5, 2, 0, 0], [5, 6, 6, 2], [6, 2, 0, 0]])
    assert exact_matches(same, labels).tolist() == [True, True, False, False]
    assert exact_matches(same[:, :2], labels).tolist() == [False, True, False, False]  # all had to stop earlier


def test_share_of_exact_matches_is_told_where_sequences_were_decoded():
    metric = SequenceReconstruction()
    labels = torch.tensor([[1, 2], [3, 2]])
    metric.update(torch.zeros(2, 2, 4), labels)
    assert "exact_match" not in metric.compute()
    metric.update(torch.zeros(2, 2, 4), labels, decoded_NG=torch.tensor([[1, 2], [1, 2]]))
    metric.update(torch.zeros(2, 2, 4), labels, decoded_NG=torch.tensor([[1, 2]]))  # of the first example alone
    assert metric.compute()["exact_match"].item() == pytest.approx(2 / 3)


def test_nothing_is_told_of_no_token():
    metric = SequenceReconstruction()
    metric.update(torch.zeros(1, 1, 4), torch.tensor([[-100]]))
    assert metric.compute() == {}
