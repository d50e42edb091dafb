import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.core import DefaultDataCollator, Example, Modalities, collate_example_list


def example(index: int, dataset: int = 0, **values) -> Example:
    return Example(example_index=index, dataset_index=dataset, **values)


def tokenizer(texts: list[str]) -> dict[str, torch.Tensor]:
    length = max(len(text) for text in texts)
    ids = torch.tensor([[*map(ord, text), *[0] * (length - len(text))] for text in texts])
    return {"text": ids, "text_attention_mask": (ids > 0).long()}


def test_values_are_stacked_by_kind():
    examples = [
        example(i, rgb=torch.full((2, 3), i), audio=np.full(4, i, dtype=np.float32), rgb_target=i, weight=i / 2, text=str(i))
        for i in range(3)
    ]
    batch = collate_example_list(examples)
    assert batch["rgb"].shape == (3, 2, 3)
    assert batch["audio"].dtype == torch.float32
    assert batch["audio"].shape == (3, 4)
    assert batch["rgb_target"].tolist() == [0, 1, 2]
    assert batch["weight"].dtype == torch.float32
    assert batch["text"] == ["0", "1", "2"]


def test_images_stay_bytes():
    batch = collate_example_list([example(0, rgb=torch.zeros(3, 4, 4, dtype=torch.uint8))])
    assert batch["rgb"].dtype == torch.uint8


def test_indices_and_ids_are_integers_and_the_pair_in_an_example_is_no_data():
    examples = [example(i, dataset=i % 2, text="a") for i in (4, 7, 9)]
    for e in examples:
        e.create_ids()
    batch = collate_example_list(examples)
    assert batch["example_index"].tolist() == [4, 7, 9]
    assert batch["dataset_index"].tolist() == [0, 1, 1]
    assert batch["example_ids"]["text"].tolist() == [[0, 4], [1, 7], [1, 9]]
    assert {batch[key].dtype for key in ("example_index", "dataset_index")} == {torch.long}
    assert set(batch["example_ids"]) == {"text"}


@given(st.lists(st.sets(st.sampled_from(["rgb", "text", "audio"])), min_size=1, max_size=8))
def test_each_key_has_the_values_and_the_ids_of_the_examples_that_have_it(presence: list[set[str]]):
    examples = [example(i, dataset=i % 3, **dict.fromkeys(sorted(keys), i)) for i, keys in enumerate(presence)]
    batch = collate_example_list(examples)
    for key in ("rgb", "text", "audio"):
        owners = [i for i, keys in enumerate(presence) if key in keys]
        assert (key in batch) == bool(owners)
        if owners:
            assert batch[key].tolist() == owners
            assert batch["example_ids"][key].tolist() == [[i % 3, i] for i in owners]


def test_the_same_ids_may_come_twice():
    batch = collate_example_list([example(5, rgb=torch.zeros(1)), example(5, rgb=torch.ones(1))])
    assert batch["example_ids"]["rgb"].tolist() == [[0, 5], [0, 5]]


def test_one_example_makes_a_batch():
    assert collate_example_list([example(0, rgb=torch.zeros(2), text="a")])["rgb"].shape == (1, 2)


def test_nested_examples_are_collated_inside():
    batch = collate_example_list([example(i, boxes={"corner": torch.tensor([i, i]), "label": "x"}) for i in range(2)])
    assert batch["boxes"]["corner"].tolist() == [[0, 0], [1, 1]]
    assert batch["boxes"]["label"] == ["x", "x"]


def test_a_processor_that_returns_a_mapping_adds_keys_with_the_ids_of_its_source():
    batch = DefaultDataCollator({"text": tokenizer})(
        [example(0, text="ab"), example(1, rgb=torch.zeros(1)), example(2, text="c")]
    )
    assert batch["text"].tolist() == [[97, 98], [99, 0]]
    assert batch["text_attention_mask"].tolist() == [[1, 1], [1, 0]]
    for key in ("text", "text_attention_mask"):
        assert batch["example_ids"][key].tolist() == [[0, 0], [0, 2]]


def test_a_processor_that_returns_a_value_replaces_it():
    batch = DefaultDataCollator({"rgb": lambda images: images.float() / 2})([example(i, rgb=torch.tensor([i])) for i in range(2)])
    assert batch["rgb"].tolist() == [[0.0], [0.5]]
    assert batch["example_ids"]["rgb"].tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("key", ["text", "text_mask", "depth"])
def test_a_processor_waits_for_a_modality_that_this_batch_lacks(key: str):
    batch = DefaultDataCollator({key: tokenizer})([example(0, rgb=torch.zeros(1))])
    assert key not in batch


def test_a_processor_may_wait_for_a_registered_modality():
    Modalities.register_modality("dna")
    DefaultDataCollator({"dna": tokenizer})([example(0, rgb=torch.zeros(1))])


def test_an_unknown_processor_key_is_an_error_that_names_the_keys():
    with pytest.raises(
        ValueError, match=r"processor for 'txt', but no such key\. This batch has: rgb, text\. Did you mean 'text'\?"
    ):
        DefaultDataCollator({"txt": tokenizer})([example(0, rgb=torch.zeros(1), text="a")])


def test_a_processor_must_not_replace_another_key():
    collate = DefaultDataCollator({"text": lambda texts: {"rgb": torch.zeros(len(texts))}})
    with pytest.raises(ValueError, match="processor of 'text' returned 'rgb', which is in the batch already"):
        collate([example(0, rgb=torch.zeros(1), text="a")])


def test_an_error_in_a_processor_says_whose_it_is():
    def fail(texts: list[str]) -> None:
        raise RuntimeError("no vocabulary")

    with pytest.raises(RuntimeError, match="no vocabulary") as error:
        DefaultDataCollator({"text": fail})([example(0, text="a")])
    assert error.value.__notes__ == ["Raised by the batch processor of 'text'."]


def test_a_collator_and_its_processors_can_be_sent_to_a_worker():
    collate = pickle.loads(pickle.dumps(DefaultDataCollator({"text": tokenizer})))
    assert collate([example(0, text="a")])["text"].tolist() == [[97]]


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match="empty list of examples"):
        collate_example_list([])


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        (
            torch.zeros(3, 5),
            r"shape \(3, 4\) of float32 in data set 0, example 0, but shape \(3, 5\) of float32 in data set 1, example 8",
        ),
        (torch.zeros(3, 4, 1), r"but shape \(3, 4, 1\) of float32 in data set 1, example 8"),
        (torch.zeros(3, 4).half(), r"but shape \(3, 4\) of float16 in data set 1, example 8"),
        (np.zeros((3, 4), dtype=np.float64), r"but shape \(3, 4\) of float64 in data set 1, example 8"),
        ("a dog", "but str in data set 1, example 8"),
        (None, r"'rgb' is None in data set 1, example 8\. Leave the key out"),
    ],
    ids=["shape", "dimensions", "dtype", "array", "text", "None"],
)
def test_values_that_do_not_fit_are_named_with_data_set_index_key_and_kind(odd, text):
    examples = [example(i, rgb=torch.zeros(3, 4)) for i in range(3)]
    with pytest.raises(ValueError, match=f"'rgb'.*{text}|^{text}"):
        collate_example_list([*examples, example(8, dataset=1, rgb=odd)])


def test_none_is_refused_even_where_every_value_is_none():
    with pytest.raises(ValueError, match="'text' is None in data set 0, example 0"):
        collate_example_list([example(0, text=None), example(1, text=None)])


def test_nested_mappings_must_have_the_same_keys():
    with pytest.raises(ValueError, match=r"'boxes'.*keys x in data set 0, example 0, but a mapping with keys y in data"):
        collate_example_list([example(0, boxes={"x": 1}), example(1, boxes={"y": 1})])


def test_a_nested_value_is_named_by_its_path():
    with pytest.raises(ValueError, match=r"'boxes\.x' is None in data set 0, example 1"):
        collate_example_list([example(0, boxes={"x": 1}), example(1, boxes={"x": None})])


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (Example(dataset_index=0), "integer `example_index`, got none in data set 0, example None"),
        (Example(dataset_index=0, example_index=1.5), "integer `example_index`, got float in data set 0, example 1.5"),
        (Example(dataset_index=0, example_index=None), "integer `example_index`, got None"),
        (Example(example_index=3), "integer `dataset_index`, got none in data set None, example 3.*wrap it in `CombinedDataset`"),
    ],
    ids=["no index", "float", "None", "no data set"],
)
def test_a_missing_or_broken_index_is_named(broken: Example, text: str):
    with pytest.raises(ValueError, match=text):
        collate_example_list([example(0), broken])
