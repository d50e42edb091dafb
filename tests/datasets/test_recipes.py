import json
from typing import ClassVar

import pytest

from mmkit.conf import external_store
from mmkit.datasets.recipes import (
    Facts,
    Preparation,
    Recipe,
    find_recipe,
    installed_digest,
    registered_recipes,
    require_version,
)
from mmkit.errors import RefusedError, UsageError


class Letters(Recipe):
    name: ClassVar[str] = "letters"
    summary: ClassVar[str] = "Letters."
    version: ClassVar[int] = 3
    choices: ClassVar[dict[str, str]] = {"all": "A to Z", "vowels": "A, E, I, O, U"}

    def build(self, preparation: Preparation) -> Facts:
        return {}


class Digits(Recipe):
    name: ClassVar[str] = "digits"
    summary: ClassVar[str] = "Digits."
    version: ClassVar[int] = 1

    def __init__(self, base: int = 10) -> None:
        self.base = base

    def build(self, preparation: Preparation) -> Facts:
        return {}


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    return tmp_path


def _place(recipe, sets, version=None):
    folder = recipe.folder(sets)
    folder.mkdir(parents=True)
    (folder / "file").write_text("12345")
    files = {"file": {"bytes": 5, "sha256": ""}}
    (folder / "manifest.json").write_text(json.dumps({"version": version or recipe.version, "files": files}))
    return folder


def test_data_sets_lie_side_by_side(root):
    assert Letters().folder("vowels") == root / "letters-vowels"
    assert Digits().folder("") == root / "digits"


def test_the_largest_prepared_selection_is_located(root):
    assert Letters().prepared() == []
    vowels = _place(Letters(), "vowels")
    assert Letters().locate() == vowels
    everything = _place(Letters(), "all")
    assert Letters().prepared() == ["all", "vowels"]
    assert Letters().locate() == everything
    assert Letters().locate("vowels") == vowels


def test_a_missing_data_set_says_what_to_type():
    with pytest.raises(RefusedError, match=r"The data set 'letters' is not prepared. Type: mmkit data prepare letters$"):
        Letters().locate()
    with pytest.raises(RefusedError, match=r"Type: mmkit data prepare letters --sets vowels$"):
        Letters().locate("vowels")
    with pytest.raises(RefusedError, match=r"'digits' is not prepared. Type: mmkit data prepare digits$"):
        Digits().locate()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "file").unlink(), r"is damaged \(.*file is missing or has another size\)"),
        (lambda folder: (folder / "file").write_text("1234"), r"is damaged \(.*file is missing or has another size\)"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"has an unreadable manifest"),
    ],
    ids=["file_missing", "file_cut", "manifest_cut"],
)
def test_a_damaged_data_set_is_refused(damage, says):
    damage(_place(Letters(), "vowels"))
    with pytest.raises(RefusedError, match=rf"'letters' {says}.* Type: mmkit data prepare letters --sets vowels"):
        Letters().locate()


def test_a_data_set_of_an_older_recipe_is_refused():
    _place(Digits(), "", version=7)
    with pytest.raises(RefusedError, match=r"'digits' was made by version 7 of its recipe; this is version 1. Type: mmkit"):
        Digits().locate()


def test_an_unknown_selection_is_refused():
    with pytest.raises(UsageError, match=r"'letters' has no selection 'most'. Allowed: all, vowels."):
        Letters().locate("most")
    with pytest.raises(UsageError, match=r"'digits' has no selection 'all'. It has no selections; leave it out."):
        Digits().locate("all")


@pytest.mark.usefixtures("clean_store")
def test_recipes_are_components():
    external_store(Digits, group="data", name="digits", base=2)
    external_store(Letters, group="data", name="letters")
    names = [recipe.name for recipe in registered_recipes()]
    assert names == sorted(names)
    assert {"digits", "letters"} <= set(names)
    assert find_recipe("digits").base == 2  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.usefixtures("clean_store")
def test_an_unknown_recipe_is_refused_with_a_suggestion():
    external_store(Letters, group="data", name="letters")
    with pytest.raises(UsageError, match=r"There is no data set 'leters'. Did you mean 'letters'\?"):
        find_recipe("leters")
    with pytest.raises(UsageError, match=r"There is no data set 'xyz'. Known: .*letters"):
        find_recipe("xyz")


def test_another_version_of_a_source_is_refused():
    with pytest.raises(RefusedError, match=r"numpy 0.1 is needed, [\d.]+ is installed. Type: pip install numpy==0.1"):
        require_version("numpy", "0.1", "pip install numpy==0.1")
    with pytest.raises(RefusedError, match=r"no-such-package 1 is needed, nothing is installed."):
        require_version("no-such-package", "1", "pip install no-such-package")


def test_the_digest_of_an_installed_package_is_stable():
    assert installed_digest("numpy") == installed_digest("numpy")
    assert installed_digest("numpy") != installed_digest("rich")
