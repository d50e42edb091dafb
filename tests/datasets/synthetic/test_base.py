import pytest

from mmkit.datasets.core import CombinedDataset, DefaultDataCollator
from mmkit.datasets.synthetic import AssociativeRecall, ListOps, SelectiveCopy


SMALL = {
    AssociativeRecall: {"num_pairs": 4, "num_queries": 2},
    SelectiveCopy: {"length": 20, "num_copied": 4},
    ListOps: {"min_length": 5, "max_length": 30},
}
all_tasks = pytest.mark.parametrize("task", SMALL, ids=lambda task: task.__name__)


def _texts(task, **arguments):
    dataset = task(**SMALL[task], size=20, **arguments)
    return [dataset[index].text.tolist() for index in range(20)]


@all_tasks
def test_examples_are_the_same_every_time_and_in_any_order(task):
    assert _texts(task) == _texts(task)
    assert task(**SMALL[task])[7].text.tolist() == _texts(task)[7]


@all_tasks
def test_examples_depend_on_index_seed_and_split(task):
    texts = [*_texts(task), *_texts(task, seed=1), *_texts(task, split="test")]
    assert len(set(map(tuple, texts))) > 50


@all_tasks
def test_ids_lie_between_the_reserved_ones_and_those_of_the_specification(task):
    dataset = task(**SMALL[task], size=200)
    ids = {token for i in range(200) for token in dataset[i].text.tolist()} - {1}  # padding
    assert min(ids) == 3
    assert {max(ids)} == set(task.example_spec(**SMALL[task]).text.tolist())


@all_tasks
def test_examples_make_a_batch_like_their_specification(task):
    combined = CombinedDataset([task(**SMALL[task])])
    batch = DefaultDataCollator()([combined[0], combined[1]])
    spec = task.example_spec(**SMALL[task], size=5, split="val")
    assert set(spec) | {"dataset_index", "example_ids"} == set(batch)
    for key in set(spec) - {"example_index", "text_target"}:
        assert batch[key].shape == (2, *spec[key].shape)
        assert batch[key].dtype == spec[key].dtype


@all_tasks
def test_another_modality_names_the_keys(task):
    keys = set(task(**SMALL[task], modality="audio")[0]) - {"example_index"}
    assert all(key.startswith("audio") for key in keys)
    assert keys == set(task.example_spec(**SMALL[task], modality="audio")) - {"example_index"}


@all_tasks
def test_there_is_no_example_past_the_end(task):
    with pytest.raises(IndexError, match="Index 20 is out of range for 20 examples"):
        task(**SMALL[task], size=20)[20]


MISTAKES = [
    (AssociativeRecall, {"size": 0}, "AssociativeRecall: size=0. Use 1 or more."),
    (AssociativeRecall, {"num_pairs": 17}, "num_pairs=17. Allowed: 1 to num_keys=16, for keys differ."),
    (AssociativeRecall, {"num_values": 1}, "num_values=1. Use 2 or more."),
    (AssociativeRecall, {"num_pairs": 4, "num_queries": 5}, "num_queries=5. Allowed: 1 to num_pairs=4."),
    (SelectiveCopy, {"length": 3, "num_copied": 4}, "num_copied=4. Allowed: 1 to length=3."),
    (SelectiveCopy, {"num_symbols": 1}, "num_symbols=1. Use 2 or more."),
    (ListOps, {"min_length": 9, "max_length": 8}, "min_length=9 must be 1 or more, and at most max_length=8."),
    (ListOps, {"max_depth": 1}, "max_depth=1 and max_args=10 must be 2 or more."),
    (ListOps, {"modality": "lists"}, "Unknown modality 'lists'"),
]


@pytest.mark.parametrize(
    ("task", "arguments", "says"), MISTAKES, ids=[f"{task.__name__}-{says[:20]}" for task, _, says in MISTAKES]
)
def test_mistakes_are_named(task, arguments, says):
    with pytest.raises(ValueError, match=says):
        task(**arguments)
