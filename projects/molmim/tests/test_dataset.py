import pytest

from mmkit.errors import RefusedError
from projects.molmim.dataset import SPLITS, STRIDE, MosesSMILES


def test_every_line_of_the_training_file_is_in_train_or_val_once(moses):
    lines = (moses / "train.txt").read_text().splitlines()
    train, val = ([(one["example_index"], one["text"]) for one in MosesSMILES(split)] for split in ("train", "val"))
    assert sorted(train + val) == list(enumerate(lines))
    assert train == sorted(train)
    assert [line for line, _ in val] == list(range(STRIDE - 1, len(lines), STRIDE))


@pytest.mark.parametrize("split", ["test", "test_scaffolds"])
def test_the_other_files_are_splits_of_their_own(moses, split):
    assert [one["text"] for one in MosesSMILES(split)] == (moses / f"{split}.txt").read_text().splitlines()


def test_an_example_is_what_the_specification_says(moses):
    one, said = MosesSMILES("val")[0], MosesSMILES.example_spec(split="val")
    assert {name: type(value) for name, value in one.items()} == {name: type(value) for name, value in said.items()}


def test_an_unknown_split_is_refused(moses):
    with pytest.raises(ValueError, match=rf"unknown split 'valid'. Allowed: {', '.join(SPLITS)}"):
        MosesSMILES("valid")


def test_data_that_is_not_prepared_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    with pytest.raises(RefusedError, match=r"'moses' is not prepared. Type: mmkit data prepare moses$"):
        MosesSMILES()
