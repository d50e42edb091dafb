"""The keys of a composed configuration and their values, kept from one completion to the next.

They are composed anew when an argument that decides about keys, a YAML file on the search path, or a Python file that a part is
defined in changes.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkit.conf.index.coding import Broken
from mmkit.conf.index.memo import remembered


@dataclass
class Keys:
    """What can be typed besides the names of groups.

    Attributes:
        values: Every key that holds no others, with the values that can be offered for it.
        choices: The groups in use with their options, e.g. ``{"modules/losses@task.loss": "ContrastiveLoss"}``.
        sources: The Python files that this depends on.
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)


def keys_of(overrides: Sequence[str], search_path: Sequence[str]) -> Keys:
    """The keys of what these overrides compose; of as many of them as can be composed."""
    deciding = [override for override in overrides if decides_about_keys(override)]
    name = f"keys-{_digest([deciding, list(search_path), _yaml_stamps(search_path)])}"
    return remembered(
        "completion", name, lambda: _composed(deciding, search_path), _encode, lambda coded, sources: _decode(coded)
    )


def decides_about_keys(override: str) -> bool:
    """Whether an override can add or remove keys: groups, additions, deletions, values with keys of their own.

    Example:
        >>> [decides_about_keys(text) for text in ("trainer.max_steps=3", "+a=1", "a/b@c=d", "task=X", "a.b={c: 1}", "a.b=null")]
        [False, True, True, True, True, True]
    """
    key, _, value = override.partition("=")
    return not (re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", key) and re.fullmatch(r"[\w.,:/+-]+", value) and value != "null")


def _composed(overrides: Sequence[str], search_path: Sequence[str]) -> Keys:
    from mmkit.cli.composing import compose

    experiments = [override for override in overrides if override.startswith("+experiment=")]
    for given in (overrides, [*overrides, "~task"], experiments, ["~task"]):  # the task may not be chosen yet
        try:
            composed = compose("base_config", given, search_path)
        except Exception:  # not finished yet: the check before a run tells what is wrong
            continue
        choices = {group: option for group, option in composed.choices.items() if option and not group.startswith("hydra/")}
        return Keys(_values(composed.cfg), choices, _sources(composed.cfg, choices))
    return Keys()


def _values(cfg: Any) -> dict[str, list[str]]:
    from omegaconf import BooleanNode, EnumNode

    from mmkit.cli.preflight.walk import is_open, walk

    found: dict[str, list[str]] = {}
    for visit in walk(cfg):
        if (is_open(visit.node) and len(visit.node)) or "[" in visit.key:  # pyright: ignore[reportArgumentType]
            continue
        null = ["null"] if visit.node._is_optional() else []
        if isinstance(visit.node, BooleanNode):
            found[visit.key] = ["true", "false", *null]
        elif isinstance(visit.node, EnumNode):
            found[visit.key] = [*visit.node.enum_type.__members__, *null]
        else:
            found[visit.key] = _present(visit.node._value())
    return found


def _present(value: Any) -> list[str]:
    """The value that is there, to be changed."""
    if isinstance(value, bool):
        return ["true", "false"]
    return [str(value)] if isinstance(value, int | float | str) and value != "???" else []


def _sources(cfg: Any, choices: dict[str, str]) -> list[str]:
    from mmkit.cli.preflight.walk import walk
    from mmkit.conf import base
    from mmkit.conf.index import find, signature
    from mmkit.conf.reading import NoSuchModule, NoSuchName, Unreadable

    found = {str(base.__file__)}
    for target in {str(visit.node._value()) for visit in walk(cfg) if visit.key.endswith("._target_")}:
        try:
            found |= set(map(str, signature(target).sources))
        except (NoSuchModule, NoSuchName, Unreadable):
            continue
    entries = [find(group.partition("@")[0], option) for group, option in choices.items()]
    return sorted(found | {entry.file for entry in entries if entry is not None and entry.file})


def _encode(keys: Keys) -> Any:
    return {"values": keys.values, "choices": keys.choices, "sources": [[path, *_stamp(path)] for path in keys.sources]}


def _decode(coded: Any) -> Keys:
    """Raises Broken if it is not what was written, or if a source has changed since."""
    match coded:
        case {"values": dict(values), "choices": dict(choices), "sources": [*sources]}:
            if any(_stamp(str(path)) != stamp for path, *stamp in sources):
                raise Broken("a source has changed")
            if all(isinstance(each, list) for each in values.values()):
                return Keys(values, choices, [path for path, *_ in sources])
    raise Broken("keys")


def _stamp(path: str) -> list[int]:
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]


def _yaml_stamps(search_path: Iterable[str]) -> list[Any]:
    folders = [Path(entry.removeprefix("file://")) for entry in search_path if entry.startswith("file://")]
    return [[str(path), *_stamp(str(path))] for folder in folders for path in sorted(folder.rglob("*.yaml"))]


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=12).hexdigest()
