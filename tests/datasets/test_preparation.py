import io
import json
from typing import ClassVar

import pytest
from rich.console import Console

import mmkit
from mmkit.datasets.cache import sha256_of
from mmkit.datasets.preparation import prepare
from mmkit.datasets.recipes import Facts, Preparation, Recipe, SourceUnavailableError
from mmkit.errors import RefusedError, UsageError


class Squares(Recipe):
    name: ClassVar[str] = "squares"
    summary: ClassVar[str] = "Square numbers."
    version: ClassVar[int] = 1
    choices: ClassVar[dict[str, str]] = {"many": "ten", "few": "three"}

    def __init__(self) -> None:
        self.built: list[str] = []
        self.unavailable: set[str] = set()
        self.error: BaseException | None = None

    def attempts(self, say):
        say("choosing")
        return ["many", "few"]

    def build(self, preparation: Preparation) -> Facts:
        if preparation.sets in self.unavailable:
            raise SourceUnavailableError("The registry does not answer.")
        numbers = range({"many": 10, "few": 3}[preparation.sets])
        (preparation.folder / "sub").mkdir()
        for number in preparation.track(numbers, "Square"):
            (preparation.folder / "sub" / str(number)).write_text(str(number**2))
            if self.error is not None:
                raise self.error
        self.built.append(preparation.sets)
        return {"licences": {"squares": "CC0-1.0"}, "counts": {"squares": len(numbers)}}


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def _printed(console):
    return console.file.getvalue()


def test_a_prepared_data_set_has_a_manifest(console, root):
    folder = prepare(Squares(), "few", console=console)
    assert folder == root / "squares-few"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == {
        "name": "squares",
        "sets": "few",
        "version": 1,
        "made_by": f"mmkit {mmkit.__version__}",
        "licences": {"squares": "CC0-1.0"},
        "counts": {"squares": 3},
        "files": {f"sub/{n}": {"bytes": 1, "sha256": sha256_of(folder / "sub" / str(n))} for n in range(3)},
    }
    assert "squares-few is prepared: 0 MB in" in _printed(console)


def test_the_same_sources_give_the_same_manifest(console):
    manifests = [(prepare(Squares(), "few", force, console) / "manifest.json").read_bytes() for force in (False, True)]
    assert manifests[0] == manifests[1]


def test_preparing_again_does_nothing_and_says_so(console):
    recipe = Squares()
    prepare(recipe, "few", console=console)
    prepare(recipe, "few", console=console)
    assert recipe.built == ["few"]
    assert "squares-few is prepared already, in" in _printed(console)


def test_force_prepares_again(console):
    recipe = Squares()
    prepare(recipe, "few", console=console)
    prepare(recipe, "few", force=True, console=console)
    assert recipe.built == ["few", "few"]


def test_a_damaged_data_set_is_prepared_again(console):
    recipe = Squares()
    folder = prepare(recipe, "few", console=console)
    (folder / "sub" / "2").write_text("")
    prepare(recipe, "few", console=console)
    assert recipe.problem("few") is None
    assert recipe.built == ["few", "few"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")], ids=["ctrl_c", "disk_full"])
def test_an_interrupted_preparation_leaves_nothing(console, root, error):
    recipe = Squares()
    recipe.error = error
    with pytest.raises(type(error)):
        prepare(recipe, "many", console=console)
    assert recipe.prepared() == []
    assert not any(path.name.startswith("squares") or "partial" in path.name for path in root.iterdir())


def test_without_a_choice_the_recipe_chooses(console):
    assert prepare(Squares(), console=console).name == "squares-many"
    assert "choosing" in _printed(console)


def test_when_a_source_is_away_less_is_prepared_and_that_is_said(console):
    recipe = Squares()
    recipe.unavailable = {"many"}
    assert prepare(recipe, console=console).name == "squares-few"
    assert "The registry does not answer.\nMaking do with less" in _printed(console)
    assert "mmkit data prepare squares --sets many" in _printed(console)


def test_what_was_asked_for_is_not_replaced_by_less(console):
    recipe = Squares()
    recipe.unavailable = {"many"}
    with pytest.raises(RefusedError, match="The registry does not answer"):
        prepare(recipe, "many", console=console)
    assert recipe.built == []


def test_an_unknown_selection_is_refused(console):
    with pytest.raises(UsageError, match="has no selection 'most'"):
        prepare(Squares(), "most", console=console)
