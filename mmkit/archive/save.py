"""Saving a task with everything that it needs, in one file whose bytes depend on nothing else."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from torch import nn

import mmkit
from mmkit.archive.artifacts import Sources
from mmkit.archive.atomic import write_atomically
from mmkit.archive.config_file import dump_config
from mmkit.archive.config_rules import GET_OBJECT, join, leaves, nodes, problems, targets, untrusted_places
from mmkit.archive.format import CONFIG, MANIFEST, SCHEME, SUFFIX, WEIGHTS
from mmkit.archive.manifest import Manifest, Member, Registration
from mmkit.archive.registry import registered_name, registered_objects
from mmkit.archive.tar import END, padding, tar_header
from mmkit.archive.task_config import replaced, without_secrets
from mmkit.archive.weights import split_aliases, write_weights
from mmkit.errors import MMKitError, UsageError
from mmkit.extras import resolve_location


logger = logging.getLogger(__name__)

_VERSIONS = {"mmkit": mmkit.__version__, "torch": str(torch.__version__)}


def save_archive(task: nn.Module, path: str | Path, provenance: Mapping[str, Any] | None = None) -> Path:
    """Save a task as an archive.

    Args:
        task: A task with a ``config``.
        path: The file; the suffix ``.mmkit`` is added if it has none.
        provenance: Where it comes from, e.g. the run's name; JSON data that is stored beside mmkit's version and the class.

    Returns:
        The file.

    Raises:
        UsageError: If the task has no configuration, or one that no file can hold, or an artifact is missing.
        MMKitError: If the file cannot be written.
    """
    path = Path(path).expanduser()
    path = path if path.suffix else path.with_suffix(SUFFIX)
    sources = Sources()
    config, registrations, withheld = _archived_config(task, sources)
    tensors, aliases = split_aliases(task.state_dict())
    texts = {CONFIG: dump_config(config), WEIGHTS: write_weights(tensors)}
    members = {name: Member(len(text), hashlib.sha256(text).hexdigest()) for name, text in texts.items()}
    manifest = Manifest(
        members={**members, **dict(sorted(sources.members.items()))},
        artifacts=sources.artifacts,
        registrations=registrations,
        aliases=aliases,
        withheld=withheld,
        provenance={"class": config["_target_"], **_VERSIONS, **(provenance or {})},
    )
    table = manifest.to_json()
    size = len(table) + sum(member.size for member in manifest.members.values())
    write_atomically(path, _chunks({MANIFEST: table, **texts}, manifest, sources), size)
    return path


def _archived_config(task: nn.Module, sources: Sources) -> tuple[dict[str, Any], list[Registration], list[str]]:
    config = getattr(task, "plain_config", None)
    if config is None:
        raise UsageError(
            f"This {type(task).__name__} was built without a configuration, from which alone an archive can build it again. "
            "Build it with mmkit.archive.build(config), or tell it: task.config = {'_target_': …, …}."
        )
    config, withheld = without_secrets(_with_registered_names(config))
    for key in withheld:
        logger.warning("The archive has null for the secret %s; give it again with override_config.", key)
    config = _with_held_artifacts(config, task, sources)
    config, registrations = _with_registered_artifacts(config, task, sources)
    config = _with_made_artifacts(_with_weights_from_archive(config, task))
    config = _with_named_artifacts(config, task, sources)
    if found := problems(config, sources.artifacts):
        raise UsageError(f"The configuration cannot be archived: {'; '.join(found[:5])}.")
    for place in untrusted_places(config, ()):
        logger.warning("To restore the archive, override_config or trust must name this: %s.", place)
    return config, registrations, withheld


def _with_registered_names(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration in Hydra's keywords alone, and with the names under which things are registered."""
    registered = registered_objects()
    config = _without_zen(config)
    names = {name: registered_name(name, registered) for name in targets(config)}
    for name in [name for name in names.values() if name not in registered]:
        logger.warning("%s is not registered with external_store: restoring needs trust=[%r].", name, name)
    changes = {
        join(key, "path" if node["_target_"] == GET_OBJECT else "_target_"): names[
            node["path"] if node["_target_"] == GET_OBJECT else node["_target_"]
        ]
        for key, node in nodes(config)
        if "_target_" in node
    }
    return replaced(config, changes)


def _without_zen(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_zen(item) for item in value]
    if not isinstance(value, dict):
        return value
    node = {name: _without_zen(item) for name, item in value.items()}
    if not isinstance(node.get("_zen_target"), str):
        return node
    if node.get("_zen_wrappers"):
        raise UsageError(f"{node['_zen_target']} is configured with zen_wrappers, which an archive cannot hold.")
    excluded = node.get("_zen_exclude", [])
    kept = {name: item for name, item in node.items() if not str(name).startswith("_zen_") and name not in excluded}
    partial = {"_partial_": True} if node.get("_zen_partial") else {}
    return {**kept, "_target_": node["_zen_target"], **partial}


def _with_held_artifacts(config: dict[str, Any], task: nn.Module, sources: Sources) -> dict[str, Any]:
    """Take along what a restored task got from its archive."""
    changes = {}
    for key, value in leaves(config):
        if isinstance(value, str) and value.startswith(SCHEME) and task.artifact_folder is not None:  # pyright: ignore
            changes[key] = SCHEME + sources.add(task.artifact_folder.locate(value.removeprefix(SCHEME)))  # pyright: ignore
    return replaced(config, changes)


def _with_registered_artifacts(
    config: dict[str, Any], task: nn.Module, sources: Sources
) -> tuple[dict[str, Any], list[Registration]]:
    changes: dict[str, str] = {}
    found: dict[tuple[str, str], Registration] = {}
    keys = dict(leaves(config))
    for module in task.modules():
        for config_path, src in getattr(module, "registered_artifacts", {}).items():
            reference = None if src is None else sources.add(resolve_location(src))
            owner = f"{type(module).__module__}.{type(module).__qualname__}"
            registration = Registration(owner, config_path, reference)
            own_keys = [key for key, value in keys.items() if src is not None and value == src]
            own_keys += [config_path] if module is task and config_path in keys and reference else []
            changes.update(dict.fromkeys(own_keys, f"{SCHEME}{reference}"))
            if found.setdefault((owner, config_path), registration) != registration and not own_keys:
                raise UsageError(
                    f"Two modules of the class {owner} register different artifacts as {config_path!r}. Give each a path of its "
                    "own, or take the file's path from the configuration."
                )
    return replaced(config, changes), list(found.values())


def _with_weights_from_archive(config: dict[str, Any], task: nn.Module) -> dict[str, Any]:
    """Let components that are modules of the task load no weights of their own."""
    config = replaced(config, {})
    for _, node in _with_attribute(config, "initial_weights_arguments"):
        if _is_in_task(node, config, task):
            node.update(get_object(node["_target_"]).initial_weights_arguments)
    return config


def _with_made_artifacts(config: dict[str, Any]) -> dict[str, Any]:
    """Let components that made their files themselves, such as a trained vocabulary, name these in place of the sources."""
    config = replaced(config, {})
    for _, node in _with_attribute(config, "archived_arguments"):
        node.update(get_object(node["_target_"]).archived_arguments(node))
    return config


def _with_named_artifacts(config: dict[str, Any], task: nn.Module, sources: Sources) -> dict[str, Any]:
    changes = {}
    for key, node in _with_attribute(config, "artifact_arguments"):
        component = get_object(node["_target_"])
        without_weights = hasattr(component, "initial_weights_arguments") and _is_in_task(node, config, task)
        for name in component.artifact_arguments:
            value = node.get(name)
            if isinstance(value, str) and not value.startswith((SCHEME, "pkg://")) and Path(value).expanduser().exists():
                changes[join(key, name)] = SCHEME + sources.add(value, without_weights)
    return replaced(config, changes)


def _with_attribute(config: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, node in nodes(config):
        if node.get("_target_", GET_OBJECT) != GET_OBJECT and hasattr(get_object(node["_target_"]), name):
            yield key, node


def _is_in_task(node: dict[str, Any], config: dict[str, Any], task: nn.Module) -> bool:
    """Whether what a node builds is a module of the task: as many of its class are there as are configured."""
    configured = Counter(other["_target_"] for _, other in nodes(config) if "_target_" in other)
    cls = get_object(node["_target_"])
    return configured[node["_target_"]] == sum(type(module) is cls for module in task.modules())


def _chunks(texts: Mapping[str, bytes], manifest: Manifest, sources: Sources) -> Iterator[bytes]:
    for name, text in texts.items():
        yield tar_header(name, len(text))
        yield text
        yield padding(len(text))
    for name, path in sorted(sources.files.items()):
        yield tar_header(name, manifest.members[name].size)
        yield from _unchanged(path, manifest.members[name])
        yield padding(manifest.members[name].size)
    yield END


def _unchanged(path: Path, member: Member) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        raise MMKitError(f"The artifact {path} changed while it was saved.")
