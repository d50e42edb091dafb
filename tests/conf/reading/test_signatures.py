import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.conf.reading import REQUIRED, ObjectPath, Unreadable, read_signature


Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def Thing(): ...\nThing = wrap(Thing)", "value"),
        ("def wrap(f): return lambda: f\n@wrap\nclass Thing: ...", "decorated with `wrap`"),
        ("def wrap(c):\n    c.__init__ = None\n    return c\n@wrap\nclass Thing: ...", "decorated with `wrap`"),
        ("def wrap(c):\n    change(c)\n    return c\n@wrap\nclass Thing: ...", "decorated with `wrap`"),
        ("class Meta(type):\n    def __call__(cls, x): ...\nclass Thing(metaclass=Meta): ...", "metaclass"),
        ("class Thing(dict): ...", "constructor of builtins.dict"),
        ("class Thing(make()): ...", r"`make\(\)` in thing is computed"),
        ("from typing import Protocol\nclass Thing(Protocol): ...", "constructor of typing.Protocol"),
        ("from enum import Enum\nclass Thing(Enum): ...", "constructor of enum.Enum"),
        ("class Thing:\n    __init__ = make()", "__init__ is not a function definition"),
        ("class Thing:\n    __signature__ = None", "sets its signature"),
        ("Thing = 3", "value"),
        ("from _json import make_encoder as Thing", "compiled"),
    ],
)
def test_what_may_change_the_signature_is_unreadable(write: Write, text: str, reason: str) -> None:
    write("thing.py", text)
    with pytest.raises(Unreadable, match=reason):
        read_signature("thing.Thing")


def test_a_method_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        read_signature("transformers.BertModel.from_pretrained")
    with pytest.raises(Unreadable, match="method"):
        read_signature("torch.nn.Embedding.from_pretrained")


@pytest.mark.parametrize(
    "decorator",
    [
        "import functools\ndef wrap(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a)\n    return inner\n@wrap",
        "import functools as ft\ndef wrap(n):\n    def deco(f):\n        @ft.wraps(f)\n        def g(*a): return f(*a)\n"
        "        return g\n    return deco\n@wrap(3)",
        "ALL = {}\ndef keep(f):\n    ALL[f.__name__] = f\n    return f\n@keep",
        "from torch import no_grad\n@no_grad()",
        "from functools import lru_cache\n@lru_cache(maxsize=None)",
    ],
)
def test_decorators_that_keep_the_signature_pass(write: Write, decorator: str) -> None:
    write("decorated.py", f"{decorator}\ndef thing(x: int, y: str = 'a'): ...")
    assert [each.name for each in read_signature("decorated.thing").parameters] == ["x", "y"]


def test_one_unreadable_default_leaves_the_others(write: Write) -> None:
    write("partly.py", "import os\ndef thing(a, b: int = os.getpid(), c: float = 1.0): ...")
    a, b, c = read_signature("partly.thing").parameters
    assert (a.default, a.type, c.default, c.type) == (REQUIRED, "Any", 1.0, "float")
    assert isinstance(b.default, Unreadable)
    assert isinstance(b.type, Unreadable)
    assert b.type_for(3) == b.declared == "int"


def test_the_registered_value_decides_over_the_type(write: Write) -> None:
    write("typed.py", "from typing import Optional\ndef thing(a: int, b: Optional[str] = 'x', c: list[int] = None): ...")
    a, b, c = read_signature("typed.thing").parameters
    assert [a.type_for(each) for each in (1, None, "${x}", "${x}/y", ObjectPath("a.b"))] == [
        "int",
        "Optional[int]",
        "Any",
        "int",
        "Any",
    ]
    assert (b.type, b.type_for(None), c.type) == ("Optional[str]", "Optional[str]", "list[int]")


def test_fields_are_in_the_order_of_the_build(write: Write) -> None:
    write("ordered.py", "def thing(p, /, a, b=1, *args, c, d=2, **kwargs): ...")
    signature = read_signature("ordered.thing")
    assert [each.name for each in signature.fields()] == ["a", "c", "b", "d"]
    assert signature.takes_any_keyword


def test_a_class_without_constructor_takes_nothing(write: Write) -> None:
    write("empty.py", "from abc import ABC\nclass Thing(ABC): ...")
    assert read_signature("empty.Thing").parameters == ()


def test_a_metaclass_that_leaves_the_making_of_instances_alone_passes(write: Write) -> None:
    write(
        "made.py",
        "from abc import ABCMeta\nclass Meta(ABCMeta): ...\nclass Thing(metaclass=Meta):\n    def __init__(self, x): ...",
    )
    assert [each.name for each in read_signature("made.Thing").parameters] == ["x"]


def test_where_it_is_defined_and_which_files_say_so(write: Write) -> None:
    init = write("pack/__init__.py", "from .derived import Derived")
    derived = write("pack/derived.py", "from .base import Base\n\n\nclass Derived(Base): ...")
    base = write("pack/base.py", "LIMIT = 3\nclass Base:\n    def __init__(self, limit=LIMIT): ...")
    for _ in range(2):  # also when everything is in memory
        signature = read_signature("pack.Derived")
        assert (signature.target, signature.file, signature.line, signature.is_class) == (
            "pack.derived.Derived",
            derived,
            4,
            True,
        )
        assert set(signature.sources) == {init, derived, base}


def test_a_changed_base_is_seen(write: Write) -> None:
    write("deriving.py", "from a_base import Base\nclass Thing(Base): ...")
    write("a_base.py", "class Base:\n    def __init__(self, x): ...")
    assert [each.name for each in read_signature("deriving.Thing").parameters] == ["x"]
    write("a_base.py", "class Base:\n    def __init__(self, longer): ...")
    assert [each.name for each in read_signature("deriving.Thing").parameters] == ["longer"]


def test_a_class_that_says_where_it_lives_has_that_target(write: Write) -> None:
    write("pack/__init__.py", "from .inner import Thing\nThing.__module__ = 'pack'")
    write("pack/inner.py", "class Thing: ...\nclass Other:\n    __module__ = 'pack'")
    assert read_signature("pack.inner.Thing").target == "pack.Thing"
    assert read_signature("pack.inner.Other").target == "pack.Other"


def test_lightnings_trainer_is_read_as_it_is() -> None:
    from lightning.pytorch import Trainer

    expected = [(each.name, each.default is each.empty) for each in inspect.signature(Trainer).parameters.values()]
    assert [(each.name, each.required) for each in read_signature("lightning.pytorch.Trainer").parameters] == expected


def test_reading_imports_nothing_but_the_standard_library() -> None:
    code = """
import sys
import mmkit.conf.reading
before = set(sys.modules)
for each in ("torch.optim.AdamW", "mmkit.modules.encoders.HFTextEncoder", "lightning.pytorch.Trainer"):
    mmkit.conf.reading.read_signature(each)
new = {each.partition(".")[0] for each in set(sys.modules) - before} - sys.stdlib_module_names
assert new <= {"mmkit"}, new
assert "torch" not in sys.modules and "omegaconf" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
