"""Classification, several labels and regression of whole sequences, against NumPy."""

from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from mmkit.models import HFModel
from mmkit.tasks import SequenceClassification


BERT = {
    "model_type": "bert", "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 8, "max_position_embeddings": 16,
}  # fmt: skip
MEGA = {
    "model_type": "mega", "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8,
    "nffn_hidden_size": 8, "ema_projection_size": 2, "shared_representation_size": 4,
}  # fmt: skip
CONFIGS = {"bert": BERT, "mega": MEGA}


def task_on(config, num_labels, **arguments):
    torch.manual_seed(0)
    model = HFModel("sequence_classification", config={**config, "num_labels": num_labels})
    return SequenceClassification(model, optimizer=partial(torch.optim.AdamW, lr=0.01), **arguments).eval()


def batches(target, sizes=(4, 1)):
    ids = torch.randint(3, 13, (sum(sizes), 6), generator=torch.Generator().manual_seed(0))
    return [
        {"text": x, "text_attention_mask": torch.ones_like(x), "text_target": y}
        for x, y in zip(ids.split(sizes), target.split(sizes), strict=True)
    ]


def validated(task, data):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    [metrics] = Trainer(accelerator="cpu", devices=1, **quiet).validate(task, DataLoader(data, batch_size=None), verbose=False)
    return metrics


@torch.no_grad()
def logits_of(task, data):
    return torch.cat([task(batch) for batch in data]).double().numpy()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_classes_are_measured_over_all_examples(config):
    classes = torch.tensor([0, 2, 1, 1, 2])
    task, data = task_on(config, 3, top_k=[1, 2]), batches(classes)
    logits, right = logits_of(task, data), classes.numpy()
    log_probability = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    hits = logits.argmax(1) == right
    rank = (logits > logits[range(5), right][:, None]).sum(1)
    metrics = validated(task, data)
    assert metrics["val/loss"] == pytest.approx(-log_probability[range(5), right].mean(), rel=1e-5)
    assert metrics["val/accuracy"] == pytest.approx(hits.mean())
    assert metrics["val/top2_accuracy"] == pytest.approx((rank < 2).mean())
    assert metrics["val/macro_accuracy"] == pytest.approx(np.mean([hits[right == c].mean() for c in range(3)]))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_several_labels_are_measured_over_all_examples(config):
    labels = torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 1]])
    task, data = task_on(config, 3, problem_type="multi_label_classification"), batches(labels)
    logits, right = logits_of(task, data), labels.numpy()
    guess = logits > 0
    loss = np.maximum(logits, 0) - logits * right + np.log1p(np.exp(-np.abs(logits)))
    metrics = validated(task, data)
    assert metrics["val/loss"] == pytest.approx(loss.mean(), rel=1e-5)
    assert metrics["val/accuracy"] == pytest.approx((guess == right).mean())
    assert metrics["val/exact_match"] == pytest.approx((guess == right).all(1).mean())
    assert metrics["val/f1"] == pytest.approx(2 * (guess & (right == 1)).sum() / (guess.sum() + right.sum()))


def test_small_logits_of_several_labels_are_no_probabilities():
    task = task_on(BERT, 2, problem_type="multi_label_classification")
    head = task.model.model.classifier
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.tensor([0.2, 0.4])  # both positive, both below 0.5
    metrics = validated(task, batches(torch.tensor([[1, 1], [1, 0], [1, 1]]), (2, 1)))
    assert metrics["val/accuracy"] == pytest.approx(5 / 6)
    assert metrics["val/exact_match"] == pytest.approx(2 / 3)
    assert metrics["val/f1"] == pytest.approx(10 / 11)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("num_labels", [1, 2])
def test_numbers_are_measured_over_all_examples(config, num_labels):
    numbers = torch.randn(5, num_labels, generator=torch.Generator().manual_seed(1))
    task = task_on(config, num_labels, problem_type="regression" if num_labels > 1 else None)
    data = batches(numbers if num_labels > 1 else numbers.squeeze(1))
    error = logits_of(task, data) - numbers.numpy()
    metrics = validated(task, data)
    assert metrics["val/loss"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert metrics["val/mse"] == pytest.approx((error**2).mean(), rel=1e-5)
    assert metrics["val/mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", [1, 4])
def test_the_kind_of_problem_is_the_one_of_the_model(config, size):
    task = task_on({**config, "problem_type": "multi_label_classification"}, 3)
    assert task.problem_type == "multi_label_classification"
    assert task.evaluation_metrics.keys() == {"accuracy", "exact_match", "f1"}
    [batch] = batches(torch.ones(size, 3), (size,))
    task.log_step = lambda *args, **kwargs: None
    assert task.training_step(batch, 0).requires_grad


TARGETS = {
    "single_label_classification": torch.arange(12) % 3,
    "multi_label_classification": torch.ones(12, 3, dtype=torch.long),
    "regression": torch.ones(12, 3),
}


@pytest.mark.parametrize("problem_type", TARGETS)
def test_a_compiled_task_is_evaluated_without_compiling_again_for_every_batch(problem_type):
    task, num_graphs = task_on(BERT, 3, problem_type=problem_type), []
    for num_batches in (2, 6):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        validated(torch.compile(task, backend="eager"), batches(TARGETS[problem_type], (2,) * 6)[:num_batches])
        num_graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert 0 < num_graphs[0] == num_graphs[1]


def test_features_go_to_the_model_as_embeddings():
    task = task_on(MEGA, 3)
    ids = torch.tensor([[5, 6, 7]])
    embedded = task.model.model.get_input_embeddings()(ids).detach()
    torch.testing.assert_close(task({"text": embedded}), task({"text": ids}))


def test_a_model_without_labels_an_unknown_kind_and_odd_targets_are_refused():
    with pytest.raises(ValueError, match=r"Linear has no config\.num_labels"):
        SequenceClassification(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"Unknown problem_type 'ranking'\. Allowed: single_label_classification, "):
        task_on(BERT, 2, problem_type="ranking")
    task = task_on(BERT, 2, problem_type="regression")
    [batch] = batches(torch.zeros(3), (3,))
    with pytest.raises(ValueError, match=r"text_target has the shape \(3,\), but the model gives \(3, 2\) for regression"):
        task.validation_step(batch, 0)
    with pytest.raises(ValueError, match="There is no target 'label' in the batch"):
        task_on(BERT, 2, target_key="label").validation_step(batch, 0)
    with pytest.warns(UserWarning, match=r"label_smoothing=0\.1 has no effect on a regression"):
        task_on(BERT, 1, label_smoothing=0.1)


def test_a_class_without_a_score_and_another_head_are_refused():
    [batch] = batches(torch.tensor([0, 4, 1]), (3,))
    with pytest.raises(ValueError, match=r"the class 4, but the model has scores for 3\. Set task\.model\.num_labels=5"):
        task_on(BERT, 3).validation_step(batch, 0)
    model = HFModel("masked_lm", config=MEGA)
    with pytest.raises(ValueError, match=r"The model gives \(3, 6, 13\); one row of scores for each sequence is needed"):
        SequenceClassification(model).validation_step(batch, 0)
