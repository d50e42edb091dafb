"""Every configuration that is read from source equals the one that hydra-zen makes of the component itself."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from mmkit.conf import GROUP_MODULES, external_store, fill_group, index
from mmkit.conf.index import Entry
from mmkit.conf.index.nodes import make_node
from mmkit.conf.projects import Project, import_from
from mmkit.conf.reading import Unreadable


# Their defaults are objects, or depend on the environment: they are imported when they are composed.
IMPORTED = {("trainer/callbacks", "RichProgressBar"), ("trainer/callbacks", "Timer"), ("trainer/logger", "MLFlowLogger")}
SHIPPED = [
    Project(Path(__file__).parents[3], f"projects.{name}.configs") for name in ("apidoc_vae", "emoji_clip", "mega", "molmim")
]


def described(node):
    """All that OmegaConf knows about a node and those in it."""
    meta = node._metadata
    types = [getattr(meta, name, None) for name in ("ref_type", "key_type", "element_type")]
    told = [
        type(node).__name__,
        *map(str, types),
        getattr(meta.object_type, "__name__", None),
        meta.optional,
        meta.key,
        meta.flags,
    ]
    if node._is_none() or node._is_missing() or node._is_interpolation() or not OmegaConf.is_config(node):
        return [*told, node._value()]
    keys = list(node) if OmegaConf.is_dict(node) else range(len(node))
    return [*told, [(key, described(node._get_node(key))) for key in keys]]


@pytest.fixture(scope="module")
def registered():
    """What is registered when everything is imported."""
    for group in GROUP_MODULES:
        fill_group(group)
    for project in SHIPPED:
        import_from(project.root)
        __import__(project.package)
    own = ("mmkit.", "projects.", "torch.", "lightning.")
    entries = {(str(entry["group"]), str(entry["name"])): entry for entry in external_store}
    return {key: entry for key, entry in entries.items() if entry["node"]._target_.startswith(own)}


def test_source_tells_of_exactly_what_is_registered(registered):
    for project in SHIPPED:
        index.add_package(project.package, project.root)
    assert {(entry.group, entry.name) for group in index.groups() for entry in index.readable(group)} == set(registered)
    assert index.unreadable() == []


@pytest.mark.parametrize("group", sorted(GROUP_MODULES))
def test_configurations_are_equal_in_names_order_types_defaults_and_flags(registered, group):
    for project in SHIPPED:
        index.add_package(project.package, project.root)
    imported = set()
    for entry in index.readable(group):
        real = registered[entry.group, entry.name]
        try:
            made = make_node(entry, index.signature(entry.target))
        except Unreadable:
            imported.add((entry.group, entry.name))
            continue
        assert described(made) == described(OmegaConf.structured(real["node"])), entry.name
        assert (entry.package, entry.provider) == (real["package"], real["provider"])
        assert OmegaConf.to_yaml(made) == OmegaConf.to_yaml(OmegaConf.structured(real["node"]))
    assert imported == {key for key in IMPORTED if key[0] == group}


# One argument for `**others` at most: hydra-zen puts several in the random order of a set.
PARTS = """
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Optional, Union

from mmkit.conf import external_store

class Colour(Enum):
    RED = 1

@dataclass
class Spec:
    size: int = 1

@external_store(group="g", name="preset", size=None, names=["a", {"b": (1, 2)}], folder="${hydra:runtime.output_dir}",
                nested={"x": [1]})
@external_store(group="g", name="partial", zen_partial=True, hydra_convert="all", hydra_recursive=False)
@external_store(group="g", name="plain")
class Part:
    def __init__(self, needed: int, size: int, names: Optional[list[Any]] = None, folder: Path = Path("x"), rate: float = 1,
                 pair: tuple[int, ...] = (1, 2), table: dict[str, list[int]] = {"a": [1]}, flag: Union[int, str] = 3,
                 make=dict, *rest, key: Optional[str] = None, **others): ...

@external_store(group="g", name="colour")
def coloured(colour: Colour = Colour.RED): ...

@external_store(group="g", name="spec")
def specified(spec: Optional[Spec] = None, specs: Optional[list[Spec]] = None): ...

@external_store(group="g", name="later")
def simple(size: int = 1, where: Any = None, *, unnamed: "Optional[int]" = None) -> "Later": ...

class Base:
    def __init__(self, size: int = 1, other: "Optional[Derived]" = None): ...

@external_store(group="g", name="inherited")
class Derived(Base): ...

class Later: ...

@external_store(group="g", name="defined")
def defined(size: int = 1) -> "Later": ...
"""


@pytest.mark.parametrize("name", ["preset", "partial", "plain", "colour", "spec", "later", "inherited", "defined"])
def test_any_registration_gives_what_hydra_zen_gives(project, write, name):
    write(
        parts=PARTS.replace("size=7", "unnamed=7")
        if name == "simple"
        else PARTS.partition('@external_store(group="g", name="simple"')[0]
    )
    entry = index.find("g", name)
    made = index.node(entry)
    import mine.parts  # noqa: F401

    assert described(made) == described(OmegaConf.structured(external_store["g", name]))


def test_wrong_types_are_refused(project, write):
    write(parts=PARTS)
    made = index.node(index.find("g", "plain"))
    with pytest.raises(ValidationError, match="could not be converted to Float"):
        made.rate = "fast"


def test_what_is_made_instantiates_the_component(project, write):
    write(parts="from mmkit.conf import external_store\n@external_store(group='g')\ndef part(a, b=(1,)): return a, b\n")
    assert instantiate(index.node(index.find("g", "part")), a=[1]) == ([1], [1])


def test_a_registration_of_an_argument_that_is_not_taken_fails_as_it_does_when_it_is_imported(project, write):
    write(parts="from mmkit.conf import external_store\n@external_store(group='g', no_such=1)\ndef part(a): ...\n")
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        index.node(index.find("g", "part"))


def test_an_entry_that_is_registered_nowhere_says_so():
    entry = Entry("g", "x", "no.such.part", {}, None, None, None, "", 0, "textwrap")
    with pytest.raises(LookupError, match="Importing textwrap does not register g/x"):
        index.node(entry)
