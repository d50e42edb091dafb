"""What modules of a project register, read without importing them."""

import sys

import pytest

from mmkit.conf import index
from mmkit.conf.index import Entry


STORE = "from mmkit.conf import external_store\n"


def _told(entry: Entry):
    return entry.name, entry.target, dict(entry.values), entry.partial, entry.package, entry.provider


def _assert_not_imported():
    assert not {"mine", "mine.configs", "mine.parts"} & set(sys.modules)


def test_decorators_are_read_with_their_presets(project, write):
    write(
        parts=STORE
        + "WIDTH = 4\n"
        + '@external_store(group="modules/encoders", name="wide", width=WIDTH * 8, zen_partial=True)\n'
        + '@external_store(group="modules/encoders", package="_here_", provider="me")\n'
        + "class Encoder:\n    def __init__(self, width: int = 1): ...\n"
    )
    found = {entry.name: entry for entry in index.entries("modules/encoders") if entry.module == "mine.parts"}
    assert _told(found["wide"]) == ("wide", "mine.parts.Encoder", {"width": 32}, True, None, None)
    assert _told(found["Encoder"]) == ("Encoder", "mine.parts.Encoder", {}, None, "_here_", "me")
    assert (found["wide"].file, found["wide"].line) == (str(project / "parts.py"), 3)
    _assert_not_imported()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('from mmkit.conf.store import external_store as keep\n@keep(group="g")\ndef part(): ...\n', id="alias"),
        pytest.param('import mmkit\n@mmkit.external_store(group="g")\ndef part(): ...\n', id="attribute"),
        pytest.param('import mmkit.conf.store as s\n@s.external_store(group="g")\ndef part(): ...\n', id="module"),
        pytest.param(STORE + 'def part(): ...\nexternal_store(part, group="g")\n', id="call"),
        pytest.param(STORE + 'from textwrap import indent as part\nexternal_store(part, group="g", name="part")\n', id="other"),
        pytest.param(STORE + 'try:\n    import json\nexcept ImportError:\n    pass\nelse:\n    @external_store(group="g")\n'
                     '    def part(): ...\n', id="condition"),
        pytest.param(STORE + 'if __name__ != "__main__":\n    pass\n@external_store(group="g")\ndef part(): ...\n', id="main"),
    ],
)  # fmt: skip
def test_registrations_are_found_however_they_are_written(project, write, text):
    write(parts=text)
    assert [entry.name for entry in index.entries("g")] == ["part"]
    assert index.unreadable("g") == []
    _assert_not_imported()


@pytest.mark.parametrize("given", [pytest.param("Mine", id="class"), pytest.param('"mine.parts.Mine"', id="path")])
@pytest.mark.parametrize("kind", ["transform", "loss"])
def test_hidden_transformations_and_losses_registered_by_a_function_are_read(project, write, kind, given):
    write(
        parts=f"from mmkit.hiddens import BaseHidden{kind.title()} as Base, register_hidden_{kind}\n"
        f'class Mine(Base):\n    def __init__(self, size: int = 3): ...\nregister_hidden_{kind}("my_own", {given})\n'
    )
    assert _told(index.find(f"hiddens/{kind}", "my_own"))[:3] == ("my_own", "mine.parts.Mine", {})
    assert index.unreadable(f"hiddens/{kind}") == []
    _assert_not_imported()


def test_a_registration_of_something_has_its_own_name(project, write):
    write(parts=STORE + 'from textwrap import indent as shift\nexternal_store(shift, group="g")\n')
    assert [_told(entry)[:2] for entry in index.entries("g")] == [("indent", "textwrap.indent")]


def test_what_is_not_imported_is_not_registered(project, write):
    write(
        parts="from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import mine.never\n"
        "try:\n    import no_such_package\nexcept ImportError:\n    pass\nelse:\n    import mine.never\n"
        "def later():\n    import mine.never\n"
        "if __name__ == '__main__':\n    import mine.never\n",
        never=STORE + '@external_store(group="g")\ndef part(): ...\n',
    )
    assert index.entries("g") == []
    _assert_not_imported()


def test_imports_are_followed_as_python_follows_them(project, write):
    part = STORE + '@external_store(group="g")\ndef {}(): ...\n'
    write(
        parts="from mine.deep import inner\nfrom .sibling import x\nfrom mine.starred import *\n",
        deep____init__=part.format("of_package"),
        deep__inner=part.format("of_module"),
        sibling=part.format("of_sibling") + "x = 1\n",
        starred____init__='__all__ = ["listed"]\n',
        starred__listed=part.format("of_star"),
    )
    assert [entry.name for entry in index.entries("g")] == ["of_module", "of_package", "of_sibling", "of_star"]
    _assert_not_imported()


HIDDEN = {
    "test of an if": 'if external_store(dict, group="g", name="a", populate_full_signature=False):\n    pass\n',
    "no main": 'if __name__ != "__main__":\n    @external_store(group="g")\n    def a(): ...\n',
    "name and more": 'if __name__ == "mine.parts" and True:\n    @external_store(group="g")\n    def a(): ...\n',
    "main in an else": 'if "__main__" == __name__:\n    pass\nelse:\n    @external_store(group="g")\n    def a(): ...\n',
    "before what fails": 'try:\n    @external_store(group="g")\n    def a(): ...\n    import no_such_package\n'
                         "except ImportError:\n    pass\n",
    "import before what fails": "try:\n    import mine.other, no_such_package\nexcept ImportError:\n    pass\n",
    "import without the name": "try:\n    from mine.other import no_such_name\nexcept ImportError:\n    pass\n",
    "submodule before what fails": "try:\n    from mine import other, no_such_name\nexcept ImportError:\n    pass\n",
    "call before what fails": 'def a(): ...\ntry:\n    external_store(a, group="g")\n    import no_such_package\n'
                              "except ImportError:\n    pass\n",
    "what is entered": "from contextlib import nullcontext\n"
                       'with nullcontext(external_store(dict, group="g", name="a", populate_full_signature=False)):\n    pass\n',
    "suppressed": "from contextlib import suppress\n"
                  "with suppress(ImportError):\n    import mine.other\n    import no_such_package\n",
    "lambda": 'list(map(lambda name: external_store(dict, group="g", name=name, populate_full_signature=False), "a"))\n',
}  # fmt: skip


@pytest.mark.parametrize("text", HIDDEN.values(), ids=list(HIDDEN))
def test_no_registration_is_lost_where_only_a_part_of_a_module_runs(project, write, text):
    write(parts=STORE + text, other=STORE + '@external_store(group="g")\ndef a(): ...\n')
    assert [entry.name for entry in index.entries("g")] == ["a"]


FAILING = {
    "behind what fails": "try:\n    import no_such_package\n{}except ImportError:\n    pass\n",
    "behind what is suppressed": "import contextlib\nwith contextlib.suppress(ImportError):\n    import no_such_package\n{}",
    "in a run": 'if __name__ == "__main__":\n{}',
    "in a run with more": 'if __name__ == "__main__" and len("x"):\n{}',
}


@pytest.mark.parametrize("text", FAILING.values(), ids=list(FAILING))
def test_what_does_not_run_is_not_registered(project, write, text):
    write(parts=STORE + text.format('    @external_store(group="g")\n    def a(): ...\n'))
    assert index.entries("g") == []
    _assert_not_imported()


UNREADABLE = {
    "star": 'external_store = None\nfrom mmkit.conf import *\n@external_store(group="g", name="a")\n'
            '@external_store(group="g", name="b")\ndef part(): ...\n',
    "loop": 'for name in ("a", "b"):\n    external_store(dict, group="g", name=name, populate_full_signature=False)\n',
    "computed name": 'import os\n@external_store(group="g", name="".join(["a"]))\ndef part(): ...\n'
                     'external_store(part, group="g", name="b")\n',
    "renamed": 'again = external_store\n@again(group="g", name="a")\n@again(group="g", name="b")\ndef part(): ...\n',
    "own function": 'def keep(name):\n    return external_store(group="g", name=name)\n'
                    '@keep("a")\n@keep("b")\ndef part(): ...\n',
    "base class": 'class Base:\n    def __init_subclass__(cls):\n        external_store(cls, group="g", name=cls.__name__)\n'
                  "class a(Base): ...\nclass b(Base): ...\n",
    "config store": "from hydra.core.config_store import ConfigStore\n"
                    'for name in ("a", "b"):\n    ConfigStore.instance().store(group="g", name=name, node={"x": 1})\n',
    "import by name": 'from importlib import import_module\nimport_module("mine.others")\n',
    "renamed function": 'from importlib import import_module as bring\ndef load():\n    bring("mine.others")\nload()\n',
    "import by called function": 'from importlib import import_module\ndef load():\n    import_module("mine.others")\nload()\n',
    "external modules": 'import types\nfrom mmkit.conf import register_external_modules\n'
                        'register_external_modules(types.SimpleNamespace(a=type("a", (), {"__module__": "mine.parts"}), '
                        'b=type("b", (), {"__module__": "mine.parts"})), group="g")\n',
    "rebound": '@external_store(group="g", name="a")\ndef part(): ...\nexternal_store = None\nimport mine.others\n',
}  # fmt: skip


BRING = "def bring(*_):\n    import mine.others\n"
INDENTED = "    def bring(*_):\n        import mine.others\n"
LAZY = "def __getattr__(name):\n    import mine.others\n    return mine.others\n"
ELSEWHERE = {
    "function": ("from mine.helpers import bring\nbring()\n", BRING),
    "function with another name": ("from mine.helpers import bring as fetch\nfetch()\n", BRING),
    "function of a module": ("import mine.helpers\nmine.helpers.bring()\n", BRING),
    "star": ("from mine.helpers import *\nbring()\n", BRING),
    "passed on": ("from mine import bring\nbring()\n", BRING),
    "calls in calls": ("from mine.helpers import b\nb()\n", f"{BRING}def a(): bring()\ndef b(): a()\n"),
    "nested function": ("from mine.helpers import outer\nouter()\n", f"def outer():\n{INDENTED}    bring()\n"),
    "class": ("from mine.helpers import Made\nMade()\n", "class Made:\n    def __init__(self):\n        import mine.others\n"),
    "derived class": ("from mine.helpers import Made\nMade()\n",
                      "class Base:\n    def __init__(self):\n        import mine.others\n"
                      "class Made(Base): ...\n"),
    "base class": ("from mine.helpers import Base\nclass Made(Base): ...\n", "class Top:\n    def __init_subclass__(cls):\n"
                   "        cls().bring()\nclass Base(Top):\n    def bring(self):\n        import mine.others\n"),
    "decorator": ("from mine.helpers import bring\n@bring\ndef part(): ...\n", BRING),
    "decorator on the spot": (f"{BRING}@bring\ndef part(): ...\n", ""),
    "test": (f"{BRING}if bring() is None:\n    pass\n", ""),
    "lambda": ("from mine.helpers import bring\nrun = lambda: bring()\nrun()\n", BRING),
    "function under a condition": ("from mine.helpers import bring\nbring()\n", f"if True:\n{INDENTED}"),
    "import inside": ("def load():\n    from mine.helpers import bring\n    bring()\nload()\n", BRING),
    "module inside": ("import mine.helpers\ndef load():\n    from mine import helpers\n    helpers.bring()\nload()\n", BRING),
    "by way of others": ("def load():\n    import mine.between\nload()\n", ""),
    "import_module inside": ("def load():\n    import importlib\n    importlib.import_module('mine.others')\nload()\n", ""),
    "store inside": ("def load():\n    from mmkit.conf import external_store as keep\n"
                     "    keep(dict, group='g', name='a', populate_full_signature=False)\nload()\n", ""),
    "store passed on by a star": ("from mine.helpers import *\n@external_store(group='g')\ndef a(): ...\n", STORE),
    "lazy name": ("from mine.helpers import thing\n", LAZY),
    "lazy attribute": ("import mine.helpers\nmine.helpers.thing\n", LAZY),
}  # fmt: skip


@pytest.mark.parametrize(("text", "helpers"), ELSEWHERE.values(), ids=list(ELSEWHERE))
def test_what_functions_import_that_run_when_a_module_is_imported_is_not_lost(project, write, text, helpers):
    write(
        __init__="from mine.helpers import bring\n" if text.startswith("from mine import bring") else "",
        parts=text,
        helpers=helpers,
        between="def late():\n    import mine.others\nlate()\n",
        others=STORE + '@external_store(group="g")\ndef a(): ...\n',
    )
    assert index.unreadable("g")
    _assert_not_imported()
    assert [entry.name for entry in index.entries("g")] == ["a"]


def test_functions_that_import_what_registers_nothing_need_no_import(project, write):
    write(
        parts=STORE + 'from mine.helpers import plain\nplain()\n@external_store(group="g")\ndef a(): ...\n',
        helpers="import mine.known\ndef plain():\n    import torch, no_such_package, mine.absent\n"
        "    from mine import harmless, known\n",
        harmless="import mine.known\ndef load(): ...\n",
        known=STORE + '@external_store(group="g")\ndef b(): ...\n',
    )
    assert index.unreadable("g") == []
    assert [entry.name for entry in index.entries("g")] == ["a", "b"]
    _assert_not_imported()


def test_a_class_may_be_derived_from_one_whose_methods_import(project, write):
    write(
        parts=STORE + 'from mine.helpers import Base\n@external_store(group="g")\nclass a(Base): ...\n',
        helpers="class Base:\n    def load(self, name):\n        from importlib import import_module\n"
        "        import mine.others\n        return import_module(name)\n",
        others=STORE + '@external_store(group="g")\ndef b(): ...\n',
    )
    assert index.unreadable("g") == []
    assert [entry.name for entry in index.entries("g")] == ["a"]
    _assert_not_imported()


def test_an_import_in_a_function_that_nothing_calls_matters_to_nobody(project, write):
    write(
        parts=STORE + 'def later():\n    import mine.others\n@external_store(group="g")\ndef a(): ...\n',
        others=STORE + '@external_store(group="g")\ndef b(): ...\n',
    )
    assert index.unreadable("g") == []
    assert [entry.name for entry in index.entries("g")] == ["a"]


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=list(UNREADABLE))
def test_what_cannot_be_read_is_imported_when_its_group_is_asked_for(project, write, text):
    write(
        parts=STORE + text,
        others=STORE
        + '@external_store(group="g", name="b")\ndef part(): ...\n'
        + ('external_store(part, group="g", name="a")\n' if "importlib" in text else ""),
    )
    assert index.unreadable("g")
    _assert_not_imported()
    assert [entry.name for entry in index.entries("g")] == ["a", "b"]
    assert "mine.parts" in sys.modules


def test_only_the_group_that_cannot_be_read_is_imported(project, write):
    write(
        parts=STORE + '@external_store(group="g", name="".join(["a"]))\ndef part(): ...\n'
        '@external_store(group="h")\ndef other(): ...\n'
    )
    assert [entry.name for entry in index.entries("h")] == ["other"]
    _assert_not_imported()
    assert [entry.name for entry in index.entries("g")] == ["a"]


def test_an_error_of_a_module_that_has_to_be_imported_is_its_own(project, write):
    write(parts="import no_such_package\n")
    for _ in range(2):  # the second time, too
        with pytest.raises(ModuleNotFoundError, match="no_such_package"):
            index.entries("g")


def test_a_module_that_is_not_python_says_so(project, write):
    write(parts="def (:\n")
    with pytest.raises(SyntaxError):
        index.entries("g")


def test_a_library_is_followed_only_if_it_is_made_for_mmkit(project, write, tmp_path):
    for name in ("with_parts", "without_parts"):
        installed = tmp_path / "site-packages"
        information = installed / f"{name}-1.dist-info"
        information.mkdir(parents=True)
        requires = "Requires-Dist: mmkit>=0.1\n" if name == "with_parts" else "Requires-Dist: mmkitten\n"
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{requires}")
        (installed / f"{name}.py").write_text(STORE + f'@external_store(group="g")\ndef part_of_{name}(): ...\n')
    sys.path.insert(0, str(tmp_path / "site-packages"))
    write(parts="import with_parts, without_parts\n")
    assert [entry.name for entry in index.entries("g")] == ["part_of_with_parts"]


def test_groups_of_projects_join_those_of_mmkit(project, write):
    write(parts=STORE + '@external_store(group="g/deep")\ndef part(): ...\n')
    assert {"g/deep", "modules/encoders", "task"} <= set(index.groups())
    assert index.find("g/deep", "part").target == "mine.parts.part"
    assert index.find("g/deep", "no_such") is None
