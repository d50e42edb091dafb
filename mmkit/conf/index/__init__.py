"""What is registered, read from source: names, signatures and typed configurations, without importing any component.

``entries(group)``, ``find(group, name)`` and ``groups()`` tell what there is; ``node(entry)`` gives the configuration that
``hydra_zen.builds`` would make; ``signature(dotted)`` what a ``_target_`` takes. Results are memoised
(:mod:`mmkit.conf.index.memo`). What source does not tell is imported for real, and only that.
"""

from mmkit.conf.index.catalog import add_package, entries, fill_unreadable, find, groups, readable, unreadable
from mmkit.conf.index.entries import Entry, Problem, Registrations
from mmkit.conf.index.serving import node, option
from mmkit.conf.index.signatures import signature


__all__ = [
    "Entry",
    "Problem",
    "Registrations",
    "add_package",
    "entries",
    "fill_unreadable",
    "find",
    "groups",
    "node",
    "option",
    "readable",
    "signature",
    "unreadable",
]
