from collections.abc import Callable
from pathlib import Path

import pytest

from mmkit.conf.reading import NoSuchModule, NoSuchName, Unreadable, resolve


Write = Callable[[str, str], Path]
FIRST, SECOND = "from .first import Thing", "from .second import Thing"


@pytest.mark.parametrize(
    ("imports", "home"),
    [
        ("from pack.first import Thing", "pack.first.Thing"),
        ("from .first import Thing", "pack.first.Thing"),
        ("from pack.first import *", "pack.first.Thing"),
        ("from .second import *", "pack.second.Thing"),
        ("from .first import *\nfrom .second import *", "pack.second.Thing"),
        ("from .second import *\nfrom .first import *", "pack.first.Thing"),
        ("from . import first\nThing = first.Thing", "pack.first.Thing"),
        ("from .first import Thing as Other\nThing = Other", "pack.first.Thing"),
        (f"try:\n    from .missing import Thing\nexcept ImportError:\n    {SECOND}", "pack.second.Thing"),
        (f"try:\n    {FIRST}\nexcept ImportError:\n    Thing = None", "pack.first.Thing"),
        (f"try:\n    from .first import Nothing\nexcept ImportError:\n    {SECOND}", "pack.second.Thing"),
        (f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {FIRST}\nelse:\n    {SECOND}", "pack.second.Thing"),
        (f"import sys\nif sys.version_info < (3, 5):\n    {FIRST}\nelse:\n    {SECOND}", "pack.second.Thing"),
    ],
)
def test_a_name_is_followed_to_its_definition(write: Write, imports: str, home: str) -> None:
    write("pack/__init__.py", imports)
    write("pack/first.py", "class Thing: pass\nclass _Hidden: pass")
    write("pack/second.py", "__all__ = ['Thing']\nclass Thing: pass\nclass Unlisted: pass")
    assert resolve("pack.Thing").dotted == home


def test_a_star_brings_what_all_lists_or_what_has_no_underscore(write: Write) -> None:
    write("pack/__init__.py", "from .first import *\nfrom .second import *")
    write("pack/first.py", "class _Hidden: pass")
    write("pack/second.py", "__all__ = ['Thing']\n__all__ += ['_More']\nThing = 1\n_More = 2\nUnlisted = 3")
    assert resolve("pack._More").dotted == "pack.second._More"
    for name in ("_Hidden", "Unlisted"):
        with pytest.raises(NoSuchName):
            resolve(f"pack.{name}")


def test_a_module_that_its_package_deletes_is_still_importable(write: Write) -> None:
    write("pack/__init__.py", "from .thing import Thing\ndel thing")
    write("pack/thing.py", "class Thing: pass")
    assert resolve("pack.thing.Thing").dotted == resolve("pack.Thing").dotted == "pack.thing.Thing"


def test_modules_that_import_each_other_are_followed(write: Write) -> None:
    write("pack/__init__.py", "from .a import *\nfrom .b import *")
    write("pack/a.py", "from .b import *\nclass A: pass")
    write("pack/b.py", "from .a import *\nclass B: pass")
    assert resolve("pack.a.B").dotted == "pack.b.B"
    with pytest.raises(NoSuchName):
        resolve("pack.a.C")


def test_nested_classes_methods_and_members_are_found(write: Write) -> None:
    write(
        "pack.py",
        """
        class Base:
            class Inner:
                LIMIT = 3
            def method(self): ...
        class Derived(Base):
            pass
        """,
    )
    assert resolve("pack.Derived.Inner").dotted == "pack.Base.Inner"
    assert resolve("pack.Derived.method").kind == "method"
    assert resolve("pack.Base.Inner.LIMIT").kind == "attribute"


@pytest.mark.parametrize(
    ("dotted", "owner", "close"),
    [
        ("pack.module.Linaer", "pack.module", "Linear"),
        ("pack.module.linear", "pack.module", "Linear"),
        ("pack.Linaer", "pack", "Linear"),
        ("pack.module.Linear.Iner", "pack.module.Linear", "Inner"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_close_ones(write: Write, dotted: str, owner: str, close: str) -> None:
    write("pack/__init__.py", "from .module import *")
    write("pack/module.py", "class Linear:\n    class Inner: pass")
    with pytest.raises(NoSuchName) as error:
        resolve(dotted)
    assert (error.value.dotted, error.value.owner, error.value.close[0]) == (dotted, owner, close)


def test_a_part_in_the_middle_that_does_not_exist_is_named(write: Write) -> None:
    write("pack/__init__.py", "")
    write("pack/modules.py", "class Linear: pass")
    with pytest.raises(NoSuchModule) as error:
        resolve("pack.module.Linear")
    assert (error.value.dotted, error.value.top_level_missing, error.value.close) == ("pack.module", False, ["modules"])


@pytest.mark.parametrize("dotted", ["", "a..b", ".a", "a.b-c", "a.", "not there"])
def test_what_is_no_path_is_no_module(dotted: str) -> None:
    with pytest.raises(NoSuchModule):
        resolve(dotted)


@pytest.mark.parametrize(
    "text",
    [
        "def __getattr__(name):\n    return 1",
        "globals()['Thing'] = 1",
        "import sys\nsetattr(sys.modules[__name__], 'Thing', 1)",
        "from elsewhere import extend\nextend(__name__, ['Thing'])",
        "import os\nif os.environ.get('X'):\n    Thing = 1",
        "try:\n    Thing = compute()\nexcept Exception:\n    pass",
        "for Thing in range(3):\n    pass",
        "Thing = 1\nThing += 1",
        "with open('x') as Thing:\n    pass",
        "from _json import *",
    ],
    ids=lambda text: text.split("\n")[-1][:30],
)
def test_a_name_that_is_made_at_run_time_is_not_denied(write: Write, text: str) -> None:
    write("dynamic.py", text)
    write("elsewhere.py", "def extend(module, names): ...")
    with pytest.raises(Unreadable):
        resolve("dynamic.Thing")


def test_a_probable_mistake_is_told_where_names_are_made_at_run_time(write: Write) -> None:
    write("lazy.py", "_HOME = {'Encoder': 'x'}\n__all__ = list(_HOME)\ndef __getattr__(name): ...")
    with pytest.raises(Unreadable) as error:
        resolve("lazy.Encodr")
    assert isinstance(error.value.mistake, NoSuchName)
    assert error.value.mistake.close == ["Encoder"]
