"""What the configuration inside an archive may say. All of it is decided on the text; nothing is imported."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmkit.archive.format import SCHEME


GET_OBJECT = "hydra_zen.funcs.get_obj"  # hydra-zen's way to write an object itself, e.g. a function given as an argument

# Hydra's keywords. hydra-zen's further ones are written in these when an archive is saved.
_KEYWORDS = {
    "_target_": str,
    "_partial_": bool,
    "_recursive_": bool,
    "_args_": list,
    "_convert_": str,
}
_CONVERSIONS = ("none", "partial", "object", "all")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
_PACKAGE_FOLDER = re.compile(r"pkg://[A-Za-z_][A-Za-z0-9_]*(/(?!\.)[A-Za-z0-9._-]+)*")
_LOCAL = re.compile(r"\s*(/|~|\\|[A-Za-z]:[\\/]|(file|local-dir|local_dir)\s*:)", re.IGNORECASE)
# Arguments by which Hugging Face's libraries import code that a model's folder, or its configuration, names.
CODE_ARGUMENTS = frozenset({"trust_remote_code", "auto_map", "code_revision", "custom_pipeline", "megatron_core"})


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no container, with its dotted key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from leaves(item, join(key, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, join(key, index))
    else:
        yield key, value


def nodes(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping, with its dotted key, the outermost first."""
    if isinstance(value, dict):
        yield key, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from nodes(item, join(key, name))


def join(key: str, name: Any) -> str:
    """A dotted key."""
    return f"{key}.{name}" if key else str(name)


def targets(config: Any) -> dict[str, list[str]]:
    """What a configuration names as code: dotted name to the keys where it stands."""
    found: dict[str, list[str]] = {}
    for key, node in nodes(config):
        if "_target_" in node:
            name = node["path"] if node["_target_"] == GET_OBJECT and "path" in node else node["_target_"]
            found.setdefault(str(name), []).append(key or "the root")
    return found


def problems(config: Mapping[str, Any], artifacts: Collection[str]) -> list[str]:
    """Reasons to refuse a configuration whatever is registered.

    Args:
        config: The configuration.
        artifacts: References of the artifacts there are.
    """
    found = [] if "_target_" in config else ["it names no class: there is no `_target_`"]
    if config.get("_target_") == GET_OBJECT or config.get("_partial_"):
        found.append("it describes no object to build")
    for key, node in nodes(config):
        found += [f"{key or 'the root'}: {problem}" for problem in _node_problems(node)]
    for key, value in leaves(config):
        if (problem := _value_problem(value, artifacts)) is not None:
            found.append(f"{key}: {problem}")
    return found


def untrusted_places(config: Mapping[str, Any], trusted: Collection[str]) -> list[str]:
    """Reasons to refuse a configuration for the places, or the code of others, that its values name.

    Args:
        config: The configuration.
        trusted: Values and argument names that the user allows.
    """
    found = []
    for key, value in leaves(config):
        if isinstance(value, str) and value not in trusted and (problem := _place_problem(value)) is not None:
            found.append(f"{key}: {problem}")
    for key, node in nodes(config):
        names = [name for name in sorted(CODE_ARGUMENTS & set(node)) if node[name] and name not in trusted]
        found += [f"{join(key, name)}: it lets a library import code of others" for name in names]
    return found


def _node_problems(node: Mapping[Any, Any]) -> Iterator[str]:
    for name, value in node.items():
        if not isinstance(name, str):
            continue
        if name in _KEYWORDS:
            if type(value) is not _KEYWORDS[name] or (name == "_convert_" and value not in _CONVERSIONS):
                yield f"{name} has the value {str(value)[:80]!r}"
            if "_target_" not in node:
                yield f"{name} stands there without _target_"
        elif name.startswith("_") or "_target_" in _plain(name) or "_zen_" in _plain(name):
            yield f"the key {name!r} is not allowed"
        elif "${" in name:
            yield f"the key {name!r} is an interpolation"
    target = node.get("_target_")
    if target == GET_OBJECT:
        if set(node) != {"_target_", "path"} or not isinstance(node["path"], str) or not _NAME.fullmatch(node["path"]):
            yield f"{GET_OBJECT} takes a `path`, a dotted name, and nothing else"
    elif isinstance(target, str) and not _NAME.fullmatch(target):
        yield f"the target {target[:80]!r} is no dotted name"


def _plain(name: str) -> str:
    visible = "".join(letter for letter in name if not unicodedata.category(letter).startswith(("C", "Z")))
    return unicodedata.normalize("NFKC", visible).casefold()


def _value_problem(value: Any, artifacts: Collection[str]) -> str | None:
    if not isinstance(value, str | int | float | bool | None):
        return f"a value of the type {type(value).__name__}"
    if isinstance(value, str):
        if "${" in value:
            return f"the interpolation {value[:80]!r}; an archive's configuration has none"
        if "\0" in value:
            return "a text with a null character"
        if value == "???":
            return "the value is missing (???)"
        if value.startswith(SCHEME) and value.removeprefix(SCHEME) not in artifacts:
            return f"{value[:120]!r} names no artifact of this file"
    return None


def _place_problem(value: str) -> str | None:
    if value.lower().startswith("pkg:"):
        return None if _PACKAGE_FOLDER.fullmatch(value) else f"{value[:120]!r} is not a folder of a package: pkg://name/folder"
    if _LOCAL.match(value) or ".." in re.split(r"[\\/]", value):
        return f"{value[:120]!r} is a place on this machine, chosen by the file"
    return None
