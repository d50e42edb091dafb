"""Python source read without importing it: what a dotted path names, which arguments it takes, of which types.

Nothing is guessed. What only importing would tell is :class:`Unreadable`, and the caller imports for real.
"""

from mmkit.conf.reading.docs import parameter_docs
from mmkit.conf.reading.errors import NoSuchModule, NoSuchName, Unreadable
from mmkit.conf.reading.modules import ModuleSource, find_module, parse, read_module, recording, search_also
from mmkit.conf.reading.names import Definition, lookup, resolve
from mmkit.conf.reading.signatures import REQUIRED, Parameter, Signature, read_signature
from mmkit.conf.reading.values import EnumMember, Instance, ObjectPath, evaluate


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
