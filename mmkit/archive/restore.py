"""Restoring a task: check everything first, then build it from registered objects, then give it its weights."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from mmkit.archive.artifacts import ArtifactFolder
from mmkit.archive.config_file import load_config
from mmkit.archive.config_rules import leaves, problems, targets, untrusted_places
from mmkit.archive.construct import construct
from mmkit.archive.format import CONFIG, SCHEME, WEIGHTS, Limits
from mmkit.archive.manifest import Manifest
from mmkit.archive.reader import Archive, open_archive
from mmkit.archive.registry import allowed_objects
from mmkit.archive.task_config import merged, replaced
from mmkit.archive.weights import load_state, read_weights
from mmkit.errors import RefusedError, UsageError


logger = logging.getLogger(__name__)


class Restoration:
    """What ``register_artifact`` needs to know while a task is being restored."""

    def __init__(self, manifest: Manifest, folder: ArtifactFolder) -> None:
        self._references = {(entry.owner, entry.config_path): entry.artifact for entry in manifest.registrations}
        self._folder = folder

    def locate(self, owner: str, config_path: str, src: str | None) -> str | None:
        """The archive's artifact in place of ``src``."""
        if (src is not None and self._folder.holds(src)) or (owner, config_path) not in self._references:
            return src
        reference = self._references[owner, config_path]
        return None if reference is None else self._folder.locate(reference)


_current: ContextVar[Restoration | None] = ContextVar("restoration", default=None)


def current_restoration() -> Restoration | None:
    """The restoration that is going on; None if a task is built for the first time."""
    return _current.get()


def restore_archive(
    path: str | Path,
    map_location: str | torch.device | None = None,
    strict: bool = True,
    override_config: Mapping[str, Any] | Sequence[str] | None = None,
    return_config: bool = False,
    trust: Collection[str] = (),
    base: type = nn.Module,
    limits: Limits | None = None,
) -> Any:
    """Restore a task from an archive; see :meth:`mmkit.archive.Restorable.restore_from`.

    Args:
        path: The file.
        map_location: Device of the task. Default: the CPU.
        strict: Whether the file must hold exactly the state of the task.
        override_config: Changes of the configuration.
        return_config: Return the configuration instead of the task.
        trust: Names of further classes and functions, and values, that the configuration may hold.
        base: What the task's class must extend.
        limits: How much is read at most.

    Raises:
        RefusedError: If the file is damaged, or its configuration names anything that is neither registered nor trusted.
    """
    if isinstance(trust, str):
        raise TypeError(f"trust is a list of names, not the text {trust!r}.")
    with open_archive(path, limits) as archive:
        config = checked_config(archive, override_config, trust)
        if return_config:
            return OmegaConf.create(config)
        objects = allowed_objects(targets(config), trust)
        cls = objects[config["_target_"]]
        if not isinstance(cls, type) or not issubclass(cls, base):
            raise RefusedError(f"It holds a {config['_target_']}, which is no {base.__name__}.")
        weights = read_weights(archive.read(WEIGHTS), archive.manifest.aliases)
        folder = ArtifactFolder(archive)
        task = _build(config, objects, archive.manifest, folder)
        getattr(task, "adapt_state", lambda state: None)(weights)
        _log_differences(path, *load_state(task, weights, strict))
    task.plain_config, task.artifact_folder = config, folder
    return task.to(map_location) if map_location is not None else task


def checked_config(
    archive: Archive, override: Mapping[str, Any] | Sequence[str] | None, trust: Collection[str]
) -> dict[str, Any]:
    """The configuration of an archive with the user's changes, after all checks that need no import."""
    config = load_config(archive.read(CONFIG))
    if found := problems(config, archive.manifest.artifacts):
        raise RefusedError(f"Its configuration is refused: {'; '.join(found[:5])}.")
    given = {value for _, value in leaves(config) if isinstance(value, str)}
    if override is not None:
        config = merged(config, override)
        if found := problems(config, archive.manifest.artifacts):
            raise UsageError(f"override_config: {'; '.join(found[:5])}.")
    own = {value for _, value in leaves(config) if isinstance(value, str)} - given  # the user's own words
    if found := untrusted_places(config, {*trust, *own}):
        raise RefusedError(
            f"Its configuration is refused: {'; '.join(found[:5])}. If that is meant, pass the value in trust=[…]; or give "
            "another with override_config."
        )
    return config


def _build(config: dict[str, Any], objects: dict[str, Any], manifest: Manifest, folder: ArtifactFolder) -> Any:
    paths = {
        key: folder.locate(value.removeprefix(SCHEME))
        for key, value in leaves(config)
        if isinstance(value, str) and value.startswith(SCHEME)
    }
    with torch.random.fork_rng(devices=[]), _restoring(Restoration(manifest, folder)):
        return construct(replaced(config, paths), objects)


@contextmanager
def _restoring(restoration: Restoration) -> Iterator[None]:
    token = _current.set(restoration)
    try:
        yield
    finally:
        _current.reset(token)


def _log_differences(path: str | Path, missing: list[str], unexpected: list[str]) -> None:
    if missing:
        logger.warning("%s lacks %d tensors of the task, which stay as built: %s", path, len(missing), ", ".join(missing))
    if unexpected:
        logger.warning("%s has %d tensors without a place in the task: %s", path, len(unexpected), ", ".join(unexpected))
