"""``mmkit runs compare``: what differs between runs. What is equal in all of them is left out."""

import argparse
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.cli.output import console, show_json, show_table
from mmkit.cli.runs.finding import find_run
from mmkit.cli.runs.record import Run
from mmkit.cli.runs.showing import told_code
from mmkit.cli.runs.wording import number
from mmkit.errors import UsageError


# Differs between any two runs and says nothing about them.
_MOOT_VARIABLES = ("MMKIT_PROJECTS", "MMKIT_VERSION", "SLURM_", "MASTER_", "TORCHELASTIC_", "RANK", "LOCAL_RANK", "NODE_RANK")
ABSENT = "—"
_NOTHING = object()  # a key that is absent differs from one that is null


def compare(arguments: argparse.Namespace) -> None:
    """Print what differs, a table for each kind of thing.

    Raises:
        UsageError: Fewer than two runs are given.
    """
    runs = [find_run(name) for name in arguments.names]
    if len(runs) < 2:
        raise UsageError("mmkit runs compare takes two runs or more.")
    found = differences(runs)
    if arguments.json:
        listed = {section: {key: list(values) for key, values in rows.items()} for section, rows in found.items()}
        show_json({"runs": [str(run.path) for run in runs], "differences": listed})
        return
    letters = [chr(ord("A") + index) for index in range(len(runs))]
    for letter, run in zip(letters, runs, strict=True):
        console().print(f"{letter}  {os.path.relpath(run.path)}  {run.state}  step {run.step}")
    for section, rows in found.items():
        if rows:
            print()
            show_table((section, *letters), [(key, *map(_told, values)) for key, values in rows.items()])
    if same := [section for section, rows in found.items() if not rows]:
        console().print(f"\nThe same: {', '.join(same)}.")


def differences(runs: Sequence[Run]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """By kind of thing and by key, the values of each run; None where a run has none."""
    origins = [run.origin for run in runs]
    sections: dict[str, list[Mapping[str, Any]]] = {
        "configuration": [_configuration(run) for run in runs],
        "code": [_code(origin) for origin in origins],
        "versions": [{"python": each.get("python"), "mmkit": each.get("mmkit"), **each.get("packages", {})} for each in origins],
        "machine": [_machine(origin) for origin in origins],
        "data": [flat(origin.get("data", {})) for origin in origins],
        "overrides": [_overrides(run) for run in runs],
        "metrics": [run.last_metrics() for run in runs],
    }
    return {section: _differing(values) for section, values in sections.items()}


def _differing(values: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    keys = dict.fromkeys(key for each in values for key in each)
    rows = {key: tuple(each.get(key, _NOTHING) for each in values) for key in keys}
    return {
        key: tuple(None if value is _NOTHING else value for value in row)
        for key, row in rows.items()
        if any(value != row[0] for value in row)
    }


def _configuration(run: Run) -> dict[str, Any]:
    import yaml  # here: nothing else needs it

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as fast
        return flat(yaml.load((run.path / "config.yaml").read_text(), Loader=loader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _code(origin: Mapping[str, Any]) -> dict[str, Any]:
    told = {}
    for name, state in origin.get("code", {}).items():
        told[name] = told_code(state) or None
        if isinstance(state, Mapping) and state.get("dirty"):
            changes = f"{state.get('diff')}\n{state.get('untracked')}"
            told[f"{name}: uncommitted changes"] = (
                f"{str(state.get('diff')).count('diff --git ')} files changed, {len(state.get('untracked') or [])} new, "
                f"digest {hashlib.sha256(changes.encode()).hexdigest()[:8]}"
            )
    return told


def _machine(origin: Mapping[str, Any]) -> dict[str, Any]:
    variables = {
        name: value for name, value in origin.get("environment", {}).items() if not str(name).startswith(_MOOT_VARIABLES)
    }
    named = {name: origin.get(name) for name in ("host", "platform", "processor")}
    return {**named, "accelerators": ", ".join(map(str, origin.get("accelerators", []))), **variables}


def _overrides(run: Run) -> dict[str, Any]:
    typed = run.attempts[-1].get("overrides", []) if run.attempts else []
    return {key: value for key, _, value in (str(override).partition("=") for override in typed)}


def flat(node: Any, key: str = "") -> dict[str, Any]:
    """Leaves of nested dicts and lists by dotted key; an empty one is a leaf.

    Example:
        >>> flat({"a": {"b": 1, "c": [2, {}]}})
        {'a.b': 1, 'a.c.0': 2, 'a.c.1': {}}
    """
    if not isinstance(node, dict | list) or not node:
        return {key: node} if key else {}
    items = node.items() if isinstance(node, dict) else enumerate(node)
    return {name: leaf for part, entry in items for name, leaf in flat(entry, f"{key}.{part}" if key else str(part)).items()}


def _told(value: Any) -> str:
    return ABSENT if value is None else number(value)
