import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.datasets.core import Example, find_matching_indices


def nested_example() -> Example:
    return Example({"example_index": 3, "rgb": torch.arange(3), "boxes": {"first": {"x": 1}}, "text": "a dog"})


def naive_matches(first: list[list[int]], second: list[list[int]]) -> list[tuple[int, int]]:
    return [(i, j) for i, a in enumerate(first) for j, b in enumerate(second) if a == b]


def as_ids(rows: list[list[int]], dtype: torch.dtype = torch.long) -> torch.Tensor:
    return torch.tensor(rows, dtype=dtype).reshape(-1, 2)


def test_keys_are_attributes():
    example = Example(text="a dog")
    example.rgb = 1
    assert example["rgb"] == 1
    assert example.text == "a dog"
    del example.text
    assert list(example) == ["rgb"]


def test_nested_mappings_become_examples_however_they_are_set():
    example = Example({"a": {"b": {"c": 1}}}, d={"e": 2})
    example["f"] = OrderedDict(g=3)
    example.h = {"i": 4}
    example.update(j={"k": 5})
    example.setdefault("l", {"m": 6})
    assert [example.a.b.c, example.d.e, example.f.g, example.h.i, example.j.k, example.l.m] == [1, 2, 3, 4, 5, 6]
    assert all(type(value) is Example for value in example.values())


def test_an_example_keeps_an_example_that_it_is_given():
    inner = Example(x=1)
    assert Example(inner=inner).inner is inner


def test_a_missing_key_is_an_attribute_error_that_lists_the_keys():
    with pytest.raises(AttributeError, match=r"no key 'rgb'\. It has: text, audio\."):
        _ = Example(text=1, audio=2).rgb
    with pytest.raises(AttributeError, match=r"no key 'rgb'\. It has: none\."):
        del Example().rgb


def test_a_method_cannot_be_set_as_an_attribute_but_its_name_is_a_fine_key():
    example = Example()
    with pytest.raises(AttributeError, match=r"'items' is a method of examples; write example\['items'\]"):
        example.items = 1
    example["items"] = 1
    assert dict(example.items()) == {"items": 1}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_keys_order_and_nesting(protocol: int):
    example = nested_example()
    loaded = pickle.loads(pickle.dumps(example, protocol))
    assert type(loaded) is Example
    assert list(loaded) == list(example)
    assert type(loaded.boxes.first) is Example
    assert torch.equal(loaded.rgb, example.rgb)


def test_a_deep_copy_shares_nothing_and_a_shallow_copy_shares_values():
    example = nested_example()
    deep, shallow = copy.deepcopy(example), copy.copy(example)
    example.boxes.first.x = 2
    example.rgb += 1
    assert type(deep) is type(shallow) is Example
    assert deep.boxes.first.x == 1
    assert deep.rgb.tolist() == [0, 1, 2]
    assert shallow.boxes.first.x == 2
    shallow.text = "a cat"
    assert example.text == "a dog"


def test_ids_are_one_pair_of_integers():
    example = Example(example_index=5, dataset_index=2, rgb=1)
    example.create_ids()
    assert example.example_ids == (2, 5)


@pytest.mark.parametrize(
    "keys", [{}, {"example_index": 1}, {"dataset_index": 0, "rgb": 1}], ids=["none", "no data set", "no index"]
)
def test_ids_without_both_indices_are_a_warning_and_nothing_else(keys: dict[str, int]):
    example = Example(keys)
    with pytest.warns(UserWarning, match="^Cannot create `example_ids` without `example_index` and `dataset_index`"):
        example.create_ids()
    assert "example_ids" not in example


rows = st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), max_size=20)
extreme = st.sampled_from([-(2**63), -(2**62), -1, 0, 1, 2**31, 2**62, 2**63 - 1])
extreme_rows = st.lists(st.lists(extreme, min_size=2, max_size=2), max_size=12)


@given(rows, rows, st.sampled_from([1, 40]))
def test_matches_are_those_of_a_naive_loop_in_row_major_order(first, second, repeat):
    # Repeated 40 times, the ids are too many to be compared one by one.
    first, second = first * repeat, second * min(repeat, 10)
    found = find_matching_indices(as_ids(first), as_ids(second))
    assert list(zip(*(rows.tolist() for rows in found), strict=True)) == naive_matches(first, second)


@settings(max_examples=30)
@given(extreme_rows, extreme_rows)
def test_ids_of_any_64_bits_match_only_their_equals(first, second):
    padding = [[2**40, i] for i in range(65)]  # unique, so that the sorting path runs
    first, second = first + padding, padding + second
    found = find_matching_indices(as_ids(first), as_ids(second))
    assert list(zip(*(rows.tolist() for rows in found), strict=True)) == naive_matches(first, second)


def test_ids_with_equal_hashes_do_not_match():
    # The hash is dataset_index * c + example_index modulo 2**64, so (0, c) and (1, 0) share theirs.
    c = -7046029254386353131
    padding = [[5, i] for i in range(100)]
    first, second = [[0, c], *padding], [[1, 0], *padding, [0, c]]
    found = find_matching_indices(as_ids(first), as_ids(second))
    assert list(zip(*(rows.tolist() for rows in found), strict=True)) == naive_matches(first, second)


@pytest.mark.parametrize("size", [3, 500])
def test_aligned_unique_ids_match_row_by_row(size: int):
    ids = torch.stack([torch.arange(size) % 3, torch.arange(size).flip(0)], dim=1)
    first, second = find_matching_indices(ids, ids.clone())
    assert first.tolist() == second.tolist() == list(range(size))
    first[0] = 7  # the results are independent
    assert second[0] == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_any_integer_type_will_do(dtype: torch.dtype):
    first, second = find_matching_indices(as_ids([[0, 1], [0, 2]], dtype), as_ids([[0, 2]]))
    assert (first.tolist(), second.tolist(), first.dtype, second.dtype) == ([1], [0], torch.long, torch.long)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_few_or_no_ids_are_fine(n: int, m: int):
    first, second = find_matching_indices(torch.zeros(n, 2, dtype=torch.long), torch.zeros(m, 2, dtype=torch.long))
    assert len(first) == len(second) == n * m


def test_arguments_are_not_changed():
    ids = torch.randint(0, 5, (200, 2), generator=torch.Generator().manual_seed(0))
    before = ids.clone()
    find_matching_indices(ids, ids[:100])
    assert torch.equal(ids, before)


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ([[0, 1]], TypeError, "must be a tensor of example ids, got list"),
        (torch.zeros(3, 2), TypeError, "must hold integers up to 64 bits with a sign, got torch.float32"),
        (torch.zeros(3, 2, dtype=torch.bool), TypeError, "got torch.bool"),
        (torch.zeros(3, dtype=torch.long), ValueError, r"must have shape \(N, 2\).*, got \(3,\)"),
        (torch.zeros(3, 3, dtype=torch.long), ValueError, r"got \(3, 3\)"),
    ],
    ids=["list", "float", "bool", "one dimension", "three columns"],
)
def test_wrong_arguments_are_named(bad, error, text):
    good = torch.zeros(1, 2, dtype=torch.long)
    with pytest.raises(error, match=f"`first_example_ids` .*{text}"):
        find_matching_indices(bad, good)
    with pytest.raises(error, match=f"`second_example_ids` .*{text}"):
        find_matching_indices(good, bad)
