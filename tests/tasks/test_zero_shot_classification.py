import zlib

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator, Example
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining
from mmkit.tasks.zero_shot_classification import ZeroShotClassification


DIM = 6


def vector_of(text):
    return np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIM) * (1 + len(text))  # prompts of different length


def tokenizer(texts):
    return {"text": torch.tensor(np.stack([vector_of(text) for text in texts]), dtype=torch.float32)}


class Given(nn.Module):
    """The input is the embedding; counts its calls."""

    def __init__(self, modality):
        super().__init__()
        self.modality = modality
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return (inputs[self.modality],)


class Described(torch.utils.data.Dataset):
    def __init__(self, name, id2label, templates=("a {}", "the {} of today"), size=20, labelled=True):
        self.name, self.id2label, self.zero_shot_prompt_templates = name, id2label, list(templates)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.vectors, self.labels = rng.normal(size=(size, DIM)), rng.choice(list(id2label), size)
        self.labelled = labelled

    def __len__(self):
        return len(self.vectors)

    def __getitem__(self, index):
        labels = {"rgb_target": int(self.labels[index])} if self.labelled else {}
        return Example(example_index=index, rgb=torch.tensor(self.vectors[index], dtype=torch.float32), **labels)


class Undescribed(Described):
    def __init__(self):
        super().__init__("undescribed", {0: "x"})
        del self.id2label


def naive_accuracy(dataset, k):
    labels = sorted(dataset.id2label)
    classes = []
    for label in labels:
        prompts = [vector_of(template.replace("{}", dataset.id2label[label])) for template in dataset.zero_shot_prompt_templates]
        classes.append(np.mean([prompt / np.linalg.norm(prompt) for prompt in prompts], axis=0))
    classes = np.stack(classes) / np.linalg.norm(classes, axis=1, keepdims=True)
    order = np.argsort(-(dataset.vectors @ classes.T), axis=1)
    hits = np.array([labels.index(right) in row[:k] for right, row in zip(dataset.labels, order, strict=True)])
    return hits.mean(), np.mean([hits[dataset.labels == label].mean() for label in np.unique(dataset.labels)])


def validate(datasets, top_k=(1, 3), **trainer):
    evaluation = ZeroShotClassification([{"query_modality": "rgb", "top_k": list(top_k)}], tokenizer)
    task = ContrastivePretraining(
        encoders={"rgb": Given("rgb"), "text": Given("text")},
        evaluation_tasks={"zero_shot": {"task": evaluation}},
        compute_validation_loss=False,
        compute_test_loss=False,
    )
    loader = DataLoader(CombinedDataset(datasets), batch_size=7, collate_fn=DefaultDataCollator())
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    (metrics,) = Trainer(**options | {"enable_model_summary": False} | trainer).validate(task, loader, verbose=False)
    return metrics, task


@pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers")
def test_several_data_sets_are_classified_among_their_own_classes_from_prompts_encoded_once():
    animals = Described("animals", {3: "cat", 7: "dog"})
    food = Described("food", {0: "bread", 1: "cake", 2: "plum", 9: "rice"}, templates=["{}"])
    metrics, task = validate([animals, Undescribed(), food])
    (animals_1, animals_macro), (food_1, food_macro), (food_3, _) = (
        naive_accuracy(*of) for of in ((animals, 1), (food, 1), (food, 3))
    )
    assert metrics == {
        "val/zero_shot/animals_rgb_top1_accuracy": pytest.approx(animals_1),
        "val/zero_shot/animals_rgb_macro_accuracy": pytest.approx(animals_macro),
        "val/zero_shot/food_rgb_top1_accuracy": pytest.approx(food_1),
        "val/zero_shot/food_rgb_top3_accuracy": pytest.approx(food_3),
        "val/zero_shot/food_rgb_macro_accuracy": pytest.approx(food_macro),
    }
    assert task.model.encoders["text"].calls == 2  # one per data set; its prompts fit one batch


@pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers")
def test_data_set_without_labelled_examples_is_left_out_with_a_warning():
    with pytest.warns(UserWarning, match=r"No example of this epoch has a label 'rgb_target': animals_rgb_\* is not logged"):
        metrics, _ = validate([Described("animals", {0: "cat"}, labelled=False)])
    assert metrics == {}


@pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers")
@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ([Undescribed()], "Undescribed lacks id2label"),
        ([Described("a", {0: "x"}), Described("a", {0: "x"})], "must have different names, got: a, a"),
        ([Described("a", {0: "x"}, templates=["a photo"])], "templates with one '{}' each, got 1 classes and the templates"),
        ([Described("a", {0: "x"}, templates=[])], r"the templates \[\]"),
    ],
    ids=["undescribed", "same name", "no place for the name", "no template"],
)
def test_data_sets_that_do_not_describe_their_classes_are_errors(datasets, message):
    with pytest.raises(ValueError, match=message):
        validate(datasets)


@pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers")
def test_label_without_a_name_is_an_error():
    dataset = Described("animals", {0: "cat", 1: "dog"})
    dataset.labels[3] = 5
    with pytest.raises(ValueError, match=r"has the labels \[5\], but data set 'animals' knows only \[0, 1\]"):
        validate([dataset])


def test_nothing_to_classify_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        ZeroShotClassification([], tokenizer)
