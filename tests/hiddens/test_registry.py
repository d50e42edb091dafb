"""Hidden transformations and losses are found under their names, whichever way they were registered."""

import sys

import pytest

from mmkit.conf import external_store, index, projects
from mmkit.conf.store import external_store as same_store
from mmkit.hiddens import (
    BaseHiddenLoss,
    BaseHiddenTransform,
    HiddensPipeline,
    get_registered_hiddens,
    losses,
    register_hidden_loss,
    register_hidden_transform,
    transforms,
)
from tests.hiddens.parts import Length, Scale, given


pytestmark = pytest.mark.usefixtures("clean_store")


def test_what_mmkit_has_is_registered():
    found = get_registered_hiddens()
    assert set(found) == {"loss", "transform"}
    assert {"a_mim", "s_mim", "vae", "iwae", "guided_cls_loss"} <= set(found["loss"])
    assert {"cond_gaussian", "mean_pool", "perceiver", "guided_cls"} <= set(found["transform"])
    assert {"product_of_experts", "mixture_of_experts"} <= set(found["transform"])
    assert found == {kind: sorted(names) for kind, names in found.items()}


def test_every_class_of_the_two_packages_is_registered():
    for package, base in ((transforms, BaseHiddenTransform), (losses, BaseHiddenLoss)):
        classes = {vars(package)[name] for name in package.__all__ if isinstance(vars(package)[name], type)}
        entries = {entry["node"]._target_ for entry in external_store if str(entry["group"]).startswith("hiddens/")}
        parts = {cls for cls in classes if issubclass(cls, base)}
        assert parts
        assert {f"{cls.__module__}.{cls.__qualname__}" for cls in parts} <= entries


@pytest.mark.parametrize(
    "register",
    [
        pytest.param(lambda name: register_hidden_transform(name, Scale), id="function-with-class"),
        pytest.param(lambda name: register_hidden_transform(name, "tests.hiddens.parts.Scale"), id="function-with-path"),
        pytest.param(lambda name: external_store(group="hiddens/transform", name=name)(Scale), id="decorator"),
    ],
)
def test_a_class_registered_either_way_is_found_both_ways(register):
    register("my_scale")
    assert "my_scale" in get_registered_hiddens()["transform"]
    assert same_store["hiddens/transform", "my_scale"]._target_ == "tests.hiddens.parts.Scale"
    pipeline = HiddensPipeline({"q": {"cls_name": "my_scale", "factor": 5}}, enc_output_name="z")
    assert pipeline.apply_hidden_transforms(given())["enc_output"].equal(5 * given()["hiddens"])


def test_a_loss_is_registered_likewise():
    register_hidden_loss("my_length", Length)
    pipeline = HiddensPipeline({"q": Scale()}, {"l": {"cls_name": "my_length", "loss_weight": 2}})
    assert "my_length" in get_registered_hiddens()["loss"]
    assert pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms(given()))["loss"] == 5.0


def local_class():
    class Local(Scale): ...

    return Local


@pytest.mark.parametrize(
    ("register", "kind", "message"),
    [
        pytest.param(
            lambda: register_hidden_transform("cond_gaussian", Scale),
            ValueError,
            "The hidden transform 'cond_gaussian' is "
            "registered already, as mmkit.hiddens.transforms.cond_gaussian.CondGaussian. Choose another name.",
            id="taken",
        ),
        pytest.param(
            lambda: register_hidden_loss("a_mim", Length), ValueError, "The hidden loss 'a_mim' is registered", id="taken-loss"
        ),
        pytest.param(
            lambda: register_hidden_transform("length", Length),
            TypeError,
            "Length'> is no hidden transform: it must extend mmkit.hiddens.BaseHiddenTransform.",
            id="loss-as-transform",
        ),
        pytest.param(
            lambda: register_hidden_loss("scale", Scale()), TypeError, "is no hidden loss: it must extend", id="instance"
        ),
        pytest.param(
            lambda: register_hidden_loss("x", "tests.hiddens.parts.Lenght"),
            ValueError,
            "'tests.hiddens.parts.Lenght' cannot be imported: ",
            id="path",
        ),
        pytest.param(
            lambda: register_hidden_loss("x", "no.such.Module"),
            ValueError,
            "Give the class, or package.module.Class.",
            id="module",
        ),
        pytest.param(
            lambda: register_hidden_transform("x", local_class()),
            ValueError,
            "is defined inside a function, where no configuration finds it. Move it out of there.",
            id="local",
        ),
    ],
)
def test_mistakes_are_told(register, kind, message):
    before = get_registered_hiddens()
    with pytest.raises(kind) as caught:
        register()
    assert message in str(caught.value)
    assert get_registered_hiddens() == before


def test_a_name_is_registered_once():
    register_hidden_transform("once", Scale)
    with pytest.raises(ValueError, match=r"The hidden transform 'once' is registered already, as tests\.hiddens\.parts\.Scale"):
        register_hidden_transform("once", Scale)
    with pytest.raises(ValueError, match="once"):
        external_store(Scale, group="hiddens/transform", name="once")


MINE = """
from mmkit.conf import external_store, index, projects
from mmkit.hiddens import register_hidden_transform
from tests.hiddens.parts import Length, Scale


class MyScale(Scale): ...


register_hidden_transform("scale_of_mine", MyScale)


@external_store(group="hiddens/loss", name="length_of_mine", loss_weight=3.0)
class MyLength(Length): ...
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that takes part and is not imported; removed afterwards."""
    (tmp_path / "hidden_project" / "configs").mkdir(parents=True)
    (tmp_path / "hidden_project" / "configs" / "__init__.py").write_text("import hidden_project.parts\n")
    (tmp_path / "hidden_project" / "parts.py").write_text(MINE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(projects.PROJECTS_VARIABLE, "[]")
    monkeypatch.setattr(projects, "_used", [])
    monkeypatch.setattr(projects, "_imported_roots", [])
    monkeypatch.setattr(sys, "path", list(sys.path))
    index.forget()
    index.add_package("hidden_project.configs", tmp_path)
    yield
    index.forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "hidden_project"]:
        del sys.modules[name]


@pytest.mark.usefixtures("project")
def test_what_a_project_registers_is_found_before_it_is_imported():
    found = get_registered_hiddens()
    assert "scale_of_mine" in found["transform"]
    assert "length_of_mine" in found["loss"]
    assert "hidden_project" not in sys.modules
    pipeline = HiddensPipeline({"q": {"cls_name": "scale_of_mine"}}, {"l": {"cls_name": "length_of_mine"}}, enc_output_name="z")
    assert type(pipeline.transforms["q"]).__name__ == "MyScale"
    assert pipeline.losses["l"].weight() == 3.0
    assert get_registered_hiddens() == found
    with pytest.raises(ValueError, match="The hidden transform 'scale_of_mine' is registered already, as hidden_project"):
        register_hidden_transform("scale_of_mine", Scale)
