"""Documentation of components as it is printed: read from source, without markup."""

import ast
import re

from mmkit.conf.index import signature
from mmkit.conf.reading import NoSuchModule, NoSuchName, Signature, Unreadable, parameter_docs, parse


_SECTION = re.compile(r"\s*(\.\. |(Args|Arguments|Attributes|Examples?|Keyword Args|Note|Raises|Returns|Shape)::?\s*$)")


def readable_signature(target: str) -> Signature | None:
    """The signature of what a dotted name means; None where only importing would tell."""
    try:
        return signature(target)
    except (Unreadable, NoSuchModule, NoSuchName):
        return None


def documentation_of(found: Signature) -> str:
    """The documentation of a class or function, also where it is assigned to ``__doc__``, as torch's optimizers do."""
    name = found.target.rpartition(".")[2]
    return found.doc if found.doc or "torch.optim" not in found.target else _assigned(found, name)


def arguments_of(found: Signature) -> dict[str, str]:
    """What the documentation says about each argument, without markup."""
    return {name: plain(text) for name, text in parameter_docs(documentation_of(found)).items()}


def introduction(doc: str) -> str:
    """The text before the first section, directive or formula."""
    kept: list[str] = []
    for line in doc.splitlines():
        if _SECTION.match(line):
            break
        kept.append(line)
    paragraphs = re.split(r"\n\s*\n", "\n".join(kept).strip())
    return plain("\n\n".join(text if "\n- " in text else " ".join(text.split()) for text in paragraphs))


def plain(text: str) -> str:
    """Text without the marks of reStructuredText.

    Example:
        >>> plain("``a`` as in :class:`~torch.nn.Linear` or `b`")
        'a as in torch.nn.Linear or b'
    """
    text = re.sub(r":[\w:]+:`~?([^`<]+?)(?:\s*<[^`]*>)?`", r"\1", text)
    return re.sub(r"`+([^`]*)`+", r"\1", text)


def _assigned(found: Signature, name: str) -> str:
    """The literal parts of what is assigned to ``NAME.__doc__``; shared parts that are put in by name are left out."""
    module = found.target.rpartition(".")[0]
    for statement in parse(found.file, module).tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == f"{name}.__doc__":
            constants = [node for node in ast.walk(statement.value) if isinstance(node, ast.Constant)]
            ordered = sorted(constants, key=lambda node: (node.lineno, node.col_offset))
            return "".join(str(node.value) for node in ordered)
    return ""
