import random

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator, Example
from mmkit.tasks.knn import KNNClassification
from mmkit.tasks.linear_probe import LinearProbe, fit_logistic_regression


DIM = 4


class Embedder(LightningModule):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(DIM, DIM)
        self.dropout = nn.Dropout(0.5)

    def encode(self, inputs, modality):
        return self.dropout(self.linear(inputs[modality]))


def data(seed, num_rows=30, labels=(2, 5, 11)):
    rng = np.random.default_rng(seed)
    targets = rng.choice(labels, num_rows)
    return rng.normal(size=(num_rows, DIM)) + targets[:, None] * np.array([0.2, -0.1, 0.3, 0]), targets


class Labelled(torch.utils.data.Dataset):
    """Every other example has noise added, as an augmentation would."""

    def __init__(self, vectors, labels, noise=False):
        self.vectors, self.labels, self.noise = vectors, labels, noise

    def __len__(self):
        return len(self.vectors)

    def __getitem__(self, index):
        x = torch.tensor(self.vectors[index], dtype=torch.float32)
        x = x + 0.01 * (torch.rand(DIM) + np.random.rand() + random.random()) if self.noise else x
        return Example(example_index=index, rgb=x, rgb_target=int(self.labels[index]))


def loader(vectors, labels, noise=False, shuffle=False):
    return DataLoader(
        CombinedDataset([Labelled(vectors, labels, noise)]), batch_size=8, shuffle=shuffle, collate_fn=DefaultDataCollator()
    )


def embedded(task, vectors):
    with torch.no_grad():
        x = task.linear(torch.tensor(vectors, dtype=torch.float32)).double().numpy()
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def metrics_of(evaluation, task, batches):
    evaluation.on_evaluation_epoch_start(task)
    with torch.inference_mode():
        for index, batch in enumerate(batches):
            evaluation.evaluation_step(
                task, {**batch, "rgb_embedding": task.linear(batch["rgb"])} if "rgb" in batch else batch, index
            )
        return {name: value.item() for name, value in evaluation.on_evaluation_epoch_end(task).items()}


def naive_knn(query, bank, labels, k, temperature):
    predictions = []
    for x in query:
        nearest = np.argsort(-(bank @ x))[:k]
        votes = {label: sum(np.exp(bank[j] @ x / temperature) for j in nearest if labels[j] == label) for label in set(labels)}
        predictions.append(max(votes, key=lambda label, votes=votes: votes[label]))
    return np.array(predictions)


def accuracies(predictions, labels):
    right = predictions == labels
    return right.mean(), np.mean([right[labels == label].mean() for label in np.unique(labels)])


def test_knn_is_that_of_a_naive_vote():
    (bank, bank_labels), (query, labels), task = data(0), data(1), Embedder()
    evaluation = KNNClassification(loader(bank, bank_labels), num_neighbors=[1, 7], temperature=0.1)
    metrics = metrics_of(evaluation, task, loader(query, labels))
    for k in (1, 7):
        predictions = naive_knn(embedded(task, query), embedded(task, bank), bank_labels, k, 0.1)
        top1, macro = accuracies(predictions, labels)
        assert (metrics[f"knn{k}_top1_accuracy"], metrics[f"knn{k}_macro_accuracy"]) == (
            pytest.approx(top1),
            pytest.approx(macro),
        )


def test_fewer_examples_than_neighbours_all_vote():
    (bank, bank_labels), task = data(0, num_rows=3), Embedder()
    metrics = metrics_of(KNNClassification(loader(bank, bank_labels)), task, loader(bank, bank_labels))
    assert set(metrics) == {"knn20_top1_accuracy", "knn20_macro_accuracy"}


@pytest.mark.parametrize("num_classes", [2, 3], ids=["binary", "three classes"])
def test_logistic_regression_is_that_of_scikit_learn(num_classes):
    vectors, labels = data(0, num_rows=60, labels=range(num_classes))
    weights = fit_logistic_regression(torch.tensor(vectors), torch.tensor(labels), num_classes, weight_decay=0.01, max_steps=500)
    oracle = LogisticRegression(C=1 / (60 * 0.01), tol=1e-10, max_iter=10_000).fit(vectors, labels)
    scores = torch.tensor(vectors) @ weights[:, :-1].T + weights[:, -1]
    if num_classes == 3:  # the two-class problem of scikit-learn penalises one vector instead of two
        np.testing.assert_allclose(scores.softmax(1).numpy(), oracle.predict_proba(vectors), atol=1e-4)
    assert (scores.argmax(1).numpy() == oracle.predict(vectors)).mean() > 0.98


def test_linear_probe_is_a_logistic_regression_on_standardised_embeddings():
    (bank, bank_labels), (query, labels), task = data(0, 60), data(1, 60), Embedder()
    metrics = metrics_of(LinearProbe(loader(bank, bank_labels), weight_decay=0.01), task, loader(query, labels))
    x, y = embedded(task, bank), embedded(task, query)
    oracle = LogisticRegression(C=1 / (60 * 0.01), tol=1e-8, max_iter=10_000).fit((x - x.mean(0)) / x.std(0), bank_labels)
    top1, macro = accuracies(oracle.predict((y - x.mean(0)) / x.std(0)), labels)
    assert metrics == {"linear_top1_accuracy": pytest.approx(top1), "linear_macro_accuracy": pytest.approx(macro)}


@pytest.mark.parametrize("make", [KNNClassification, LinearProbe])
def test_evaluation_changes_nothing_that_training_sees(make):
    task, (bank, labels) = Embedder().train(), data(0)
    task.dropout.eval()  # a part that is frozen on purpose stays so
    before, batches = {name: x.clone() for name, x in task.state_dict().items()}, list(loader(bank, labels))
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    metrics_of(make(loader(bank, labels, noise=True, shuffle=True)), task, batches)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected
    assert (task.training, task.linear.training, task.dropout.training) == (True, True, False)
    assert all(torch.equal(x, before[name]) for name, x in task.state_dict().items())
    assert all(x.grad is None and x.requires_grad for x in task.parameters())
    assert torch.is_grad_enabled()


def test_labels_that_the_bank_lacks_are_an_error():
    task, (bank, _) = Embedder(), data(0)
    evaluation = KNNClassification(loader(bank, [1] * 30))
    with pytest.raises(ValueError, match=r"has the labels \[4\], but the bank knows only \[1\]"):
        metrics_of(evaluation, task, loader(bank, [4] * 30))


def test_bank_without_labels_is_an_error():
    batch = next(iter(loader(*data(0))))
    unlabelled = {key: value for key, value in batch.items() if key != "rgb_target"}
    with pytest.raises(ValueError, match="No example of the bank has 'rgb' and a label 'rgb_target'"):
        metrics_of(KNNClassification([unlabelled]), Embedder(), [])


def test_labels_that_are_no_integers_are_an_error():
    batch = next(iter(loader(*data(0))))
    with pytest.raises(ValueError, match=r"must be one integer per example, got torch.float32 of shape \(8,\)"):
        metrics_of(KNNClassification([{**batch, "rgb_target": batch["rgb_target"].float()}]), Embedder(), [])


def test_examples_without_label_or_modality_do_not_count():
    (bank, labels), task = data(0), Embedder()
    batch = next(iter(loader(bank, labels)))
    ids = batch["example_ids"]
    half = {**batch, "rgb_target": batch["rgb_target"][:4], "example_ids": {**ids, "rgb_target": ids["rgb_target"][:4]}}
    without = {"example_ids": {}}
    evaluation = KNNClassification(loader(bank, labels), num_neighbors=[1])
    assert metrics_of(evaluation, task, [half, without])["knn1_top1_accuracy"] == 1
    assert evaluation.accuracies["knn1"].examples_C.sum() == 4


def test_epoch_without_labelled_examples_warns_and_logs_nothing():
    (bank, labels), task = data(0), Embedder()
    with pytest.warns(UserWarning, match=r"No example of this epoch has a label 'rgb_target': knn20_\* is not logged"):
        assert metrics_of(KNNClassification(loader(bank, labels)), task, [{"example_ids": {}}]) == {}
