import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.datasets.text.splits import SPLITS, split_bounds, split_named
from mmkit.errors import UsageError


shares = st.lists(st.integers(0, 1000), min_size=1, max_size=3).filter(any)


@given(st.integers(0, 10_000), shares)
def test_splits_are_a_partition_in_order_and_exact(num, given_shares):
    try:
        bounds = split_bounds(num, ",".join(map(str, given_shares)))
    except UsageError:
        padded = given_shares + [0] * (3 - len(given_shares))
        assert any(share and num * share / sum(padded) < 1 for share in padded)  # only a share below one document may be lost
        return
    assert list(bounds) == list(SPLITS)
    assert [i for start, end in bounds.values() for i in range(start, end)] == list(range(num))
    for (start, end), share in zip(bounds.values(), given_shares, strict=False):
        assert abs((end - start) - num * share / sum(given_shares)) <= 1
        assert (end > start) == (share > 0)


@pytest.mark.parametrize(
    ("num", "splits", "expected"),
    [
        (10, "800,100,100", [(0, 8), (8, 9), (9, 10)]),
        (1000, "949, 50, 1", [(0, 949), (949, 999), (999, 1000)]),
        (3, "0.5,0.5", [(0, 2), (2, 3), (3, 3)]),
        (7, "1", [(0, 7), (7, 7), (7, 7)]),
        (30, "0,2,1", [(0, 0), (0, 20), (20, 30)]),
        (30, [1, 1, 1], [(0, 10), (10, 20), (20, 30)]),
    ],
)
def test_cuts_are_where_the_shares_put_them(num, splits, expected):
    assert list(split_bounds(num, splits).values()) == expected


def test_an_empty_split_is_refused_with_the_counts():
    with pytest.raises(UsageError, match="of 4 documents leaves a split empty: train 4, validation 0, test 0"):
        split_bounds(4, "998,1,1")


@pytest.mark.parametrize("splits", ["", "a,b", "1,2,3,4", "-1,2", "0,0,0", "1,,2", [], "nan"])
def test_other_strings_are_refused(splits):
    with pytest.raises(UsageError, match=r"give shares of train, validation and test, e.g. '800,100,100'"):
        split_bounds(10, splits)


def test_val_is_validation():
    assert [split_named(name) for name in ("train", "val", "validation", "test")] == ["train", "validation", "validation", "test"]
    with pytest.raises(UsageError, match=r"Unknown split 'dev'. Allowed: train, validation, test"):
        split_named("dev")
