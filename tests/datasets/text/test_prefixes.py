from pathlib import Path

import pytest

from mmkit.datasets.text.prefixes import WeightedFiles, prefix_of_split, weighted_files
from mmkit.errors import RefusedError, UsageError


A, B = Path("a.txt"), Path("b.txt")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.txt", [WeightedFiles((A,))]),
        (["a.txt", "b.txt"], [WeightedFiles((A, B))]),
        ([1.0, "a.txt"], [WeightedFiles((A,), 1.0)]),
        ([3, "a.txt", 0.5, "b.txt"], [WeightedFiles((A,), 3.0), WeightedFiles((B,), 0.5)]),
    ],
    ids=["path", "paths", "one weight", "blend"],
)
def test_forms(given, expected):
    assert weighted_files(given) == expected


def test_a_pattern_stands_for_the_files_that_match_in_order(tmp_path):
    for name in ("part-2.txt", "part-1.txt", "other.txt"):
        (tmp_path / name).touch()
    assert weighted_files(str(tmp_path / "part-*.txt")) == [WeightedFiles((tmp_path / "part-1.txt", tmp_path / "part-2.txt"))]
    with pytest.raises(RefusedError, match=r"No file matches .*none\*"):
        weighted_files(str(tmp_path / "none*"))


def test_a_file_whose_name_is_a_pattern_is_itself(tmp_path):
    (tmp_path / "a[1].txt").touch()
    assert weighted_files(str(tmp_path / "a[1].txt"))[0].paths == (tmp_path / "a[1].txt",)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "names no file"),
        (None, "names no file"),
        (["a.txt", 1.0], "a weight first"),
        ([1.0, "a.txt", "b.txt"], "must alternate"),
        ([1.0, "a.txt", 2.0], "must alternate"),
        ([0, "a.txt", 1, "b.txt"], "weights must be above 0 and finite, got 0"),
        ([float("nan"), "a.txt", 1, "b.txt"], "weights must be above 0 and finite, got nan"),
        ([True, "a.txt"], "must alternate"),
    ],
)
def test_other_forms_are_refused(given, says):
    with pytest.raises(UsageError, match=says):
        weighted_files(given)


def test_splits_may_have_files_of_their_own():
    prefix = {"train": [2, "a.txt", 1, "b.txt"], "val": "b.txt", "test": None}
    assert prefix_of_split(prefix, "train") == [2, "a.txt", 1, "b.txt"]
    assert prefix_of_split(prefix, "validation") == "b.txt"
    assert prefix_of_split("a.txt", "test") == "a.txt"
    with pytest.raises(UsageError, match=r"data_prefix has nothing for split 'test'. It has: train, validation."):
        prefix_of_split(prefix, "test")
    with pytest.raises(UsageError, match="Unknown split 'dev'"):
        prefix_of_split({"dev": "a.txt"}, "train")
    with pytest.raises(UsageError, match="names a split twice: val, validation"):
        prefix_of_split({"val": "a.txt", "validation": "b.txt"}, "val")
