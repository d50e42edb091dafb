"""The documentation of a class or function, and what it says about each parameter."""

import ast
import re
from inspect import cleandoc

from mmkit.conf.reading.classes import own_binding
from mmkit.conf.reading.errors import Unreadable
from mmkit.conf.reading.names import Definition
from mmkit.conf.reading.values import evaluate


_SECTION = re.compile(r"^(Args|Arguments|Attributes|Parameters|Keyword Args|Keyword Arguments|Other Parameters):\s*$")
_ENTRY = re.compile(r"^\\?\**(?P<names>\w+(?:\s*,\s*\\?\**\w+)*)\s*(?:\(.*?\))?\s*:(?:\s+|$)(?P<text>.*)$")


def documentation(definition: Definition, owner: Definition) -> str:
    """The text of a class or function, with that of the class's constructor.

    Args:
        definition: The class or function.
        owner: The class that defines its constructor; its text is added if ``definition`` says nothing about arguments.
    """
    text = _own_text(definition)
    inherited = "" if owner is definition or parameter_docs(text) else _own_text(owner)
    return "\n\n".join(each for each in (text, inherited) if each)


def _own_text(definition: Definition) -> str:
    node = definition.node
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or _assigned_text(definition)]
    if definition.kind == "class":
        try:
            binding = own_binding(definition, "__init__")
        except Unreadable:
            binding = None
        if binding is not None and isinstance(binding.node, ast.FunctionDef):
            texts.append(ast.get_docstring(binding.node) or "")
    return "\n\n".join(text for text in texts if text)


def _assigned_text(definition: Definition) -> str:
    """What the module assigns to ``__doc__`` of the class, as torch's optimizers do."""
    name = f"{definition.qualname}.__doc__"
    for node in definition.home.tree.body if name in definition.home.text else []:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == name for target in node.targets):
            try:
                return cleandoc(str(evaluate(node.value, definition.home, before=node.lineno)))
            except Unreadable:
                return ""
    return ""


def parameter_docs(doc: str) -> dict[str, str]:
    r"""What a documentation in Google style says about each parameter, as one line each.

    Example:
        >>> parameter_docs("Make noise.\n\nArgs:\n    level: How loud,\n        in decibels.\n    seed (int): Any number.")
        {'level': 'How loud, in decibels.', 'seed': 'Any number.'}
    """
    found: dict[str, str] = {}
    lines = doc.expandtabs().splitlines()
    for number, line in enumerate(lines):
        if _SECTION.match(line.strip()):
            for names, text in _entries(lines[number + 1 :], _indent(line)):
                found |= {name: text for name in names if name not in found}
    return found


def _entries(lines: list[str], outer: int) -> list[tuple[list[str], str]]:
    """The entries of a section, which ends where a line is indented as little as its title."""
    entries: list[tuple[list[str], list[str]]] = []
    level: int | None = None
    for line in lines:
        if not line.strip():
            continue
        if _indent(line) <= outer:
            break
        level = _indent(line) if level is None else level
        match = _ENTRY.match(line.strip()) if _indent(line) == level else None
        if match is not None:
            names = [name.strip().lstrip("\\*") for name in match["names"].split(",")]
            entries.append((names, [match["text"].strip()]))
        elif entries:
            entries[-1][1].append(line.strip())
    return [(names, " ".join(part for part in text if part)) for names, text in entries]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
