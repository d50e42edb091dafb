"""Python source read without importing it: what a dotted path names, which arguments it takes, of which types.

Nothing is guessed. What only importing would tell is :class:`Unreadable`, and the caller imports for real. The names load on
first use (PEP 562): whoever has a memo of the results does without the code that reads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mmkit.conf.reading.docs import parameter_docs
    from mmkit.conf.reading.errors import NoSuchModule, NoSuchName, Unreadable
    from mmkit.conf.reading.modules import ModuleSource, find_module, parse, read_module, recording, search_also
    from mmkit.conf.reading.names import Definition, lookup, resolve
    from mmkit.conf.reading.results import REQUIRED, EnumMember, Instance, ObjectPath, Parameter, Signature
    from mmkit.conf.reading.signatures import read_signature
    from mmkit.conf.reading.values import evaluate

__all__ = [
    "REQUIRED",
    "Definition",
    "EnumMember",
    "Instance",
    "ModuleSource",
    "NoSuchModule",
    "NoSuchName",
    "ObjectPath",
    "Parameter",
    "Signature",
    "Unreadable",
    "evaluate",
    "find_module",
    "lookup",
    "parameter_docs",
    "parse",
    "read_module",
    "read_signature",
    "recording",
    "resolve",
    "search_also",
]

_HOME = {
    "docs": ["parameter_docs"],
    "errors": ["NoSuchModule", "NoSuchName", "Unreadable"],
    "modules": ["ModuleSource", "find_module", "parse", "read_module", "recording", "search_also"],
    "names": ["Definition", "lookup", "resolve"],
    "results": ["REQUIRED", "EnumMember", "Instance", "ObjectPath", "Parameter", "Signature"],
    "signatures": ["read_signature"],
    "values": ["evaluate"],
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"mmkit.conf.reading.{module}"), name)
    raise AttributeError(f"module 'mmkit.conf.reading' has no attribute {name!r}. It offers: {', '.join(__all__)}.")
