"""What is registered, read from source: names, signatures and typed configurations, without importing any component.

``entries(group)``, ``find(group, name)`` and ``groups()`` tell what there is; ``node(entry)`` gives the configuration that
``hydra_zen.builds`` would make; ``signature(dotted)`` what a ``_target_`` takes. Results are memoised
(:mod:`mmkit.conf.index.memo`). What source does not tell is imported for real, and only that.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmkit.conf.index.catalog import add_package, entries, fill_unreadable, find, forget, groups, readable, unreadable
from mmkit.conf.index.entries import Entry, Problem, Registrations
from mmkit.conf.index.signatures import signature


if TYPE_CHECKING:
    from mmkit.conf.index.serving import node, option

__all__ = [
    "Entry",
    "Problem",
    "Registrations",
    "add_package",
    "entries",
    "fill_unreadable",
    "find",
    "forget",
    "groups",
    "node",
    "option",
    "readable",
    "signature",
    "unreadable",
]


def __getattr__(name: str) -> Any:
    if name not in ("node", "option"):  # these need hydra, which completion does without
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}.")
    return getattr(import_module("mmkit.conf.index.serving"), name)
