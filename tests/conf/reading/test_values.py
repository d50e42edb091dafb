import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmkit.conf.reading import EnumMember, Instance, ObjectPath, Unreadable, evaluate, read_module


Write = Callable[[str, str], Path]
MODULE = """
import math as m
import os
from dataclasses import dataclass
from enum import Enum
from values_elsewhere import FAR, Other

NUMBER = 1
NUMBER = NUMBER + 1
BOTH = FAR + NUMBER
RUN_DIR = "${hydra:runtime.output_dir}"
TABLE = {"a": [1, 2]}
CHANGED = []
CHANGED.append(1)

class Colour(Enum):
    RED = "red"

@dataclass
class Point:
    x: int
    y: int = NUMBER

def helper(): ...
"""


def value_of(text: str, write: Write) -> Any:
    write("values_elsewhere.py", "FAR = 40\nclass Other:\n    LIMIT = 3\n    DOUBLE = LIMIT")
    write("values_here.py", MODULE)
    return evaluate(ast.parse(text, mode="eval").body, read_module("values_here"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("BOTH", 42),
        ("f'{RUN_DIR}/{NUMBER:03d}.png'", "${hydra:runtime.output_dir}/002.png"),
        ("m.tau / 2 == m.pi", True),
        ("TABLE['a'][-1:]", [2]),
        ("{**TABLE, 'b': (NUMBER,)}", {"a": [1, 2], "b": (2,)}),
        ("'x' if NUMBER in (1, 2) else 1 / 0", "x"),
        ("None or 'default'", "default"),
        ("-2 ** 2 + 7 // 2 % 2", -3),
        ("Colour.RED", EnumMember("values_here.Colour", "RED", "red")),
        ("Colour.RED.value", "red"),
        ("Point(1)", Instance("values_here.Point", {"x": 1, "y": 2})),
        ("[helper, Other]", [ObjectPath("values_here.helper"), ObjectPath("values_elsewhere.Other")]),
        ("float", ObjectPath("builtins.float")),
        ("Other.DOUBLE", 3),
        ("max(NUMBER, 7)", 7),
    ],
)
def test_an_expression_has_the_value_that_python_gives_it(write: Write, text: str, value: Any) -> None:
    assert value_of(text, write) == value


@pytest.mark.parametrize(
    "text",
    [
        *(
            "os.environ['HOME']",
            "os.getcwd()",
            "open('x')",
            "helper()",
            "CHANGED",
            "[i for i in TABLE]",
            "lambda: 1",
            "undefined",
        ),
        *("1 / 0", "Colour.RED + 1", "Colour.BLUE", "Other()", "f'{helper}'", "Point()", "os.sep.join(TABLE)"),
    ],
)
def test_what_must_be_computed_is_unreadable(write: Write, text: str) -> None:
    with pytest.raises(Unreadable):
        value_of(text, write)
