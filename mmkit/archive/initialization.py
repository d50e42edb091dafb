"""Starting from the weights of another training: ``init_from`` in the configuration."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.archive.checkpoint_weights import read_checkpoint
from mmkit.archive.format import SUFFIX, WEIGHTS
from mmkit.archive.models import find_model
from mmkit.archive.reader import open_archive
from mmkit.archive.weights import read_weights, shape_mismatches
from mmkit.errors import RefusedError, UsageError


logger = logging.getLogger(__name__)

SOURCES = ("path", "archive", "checkpoint", "pretrained")
_KEYS = (*SOURCES, "include", "exclude", "strict")


@dataclass(frozen=True)
class InitReport:
    """What came of ``init_from``.

    Attributes:
        source: Where the weights come from.
        loaded: Names that were loaded.
        missing: Names of the task that ``include`` and ``exclude`` leave, but that the source lacks; they stay as built.
        unexpected: Names of the source, left by ``include`` and ``exclude``, that the task lacks.
        left_out: Names of the source that ``include`` and ``exclude`` leave out.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"init_from {self.source}: {len(self.loaded)} tensors loaded"]
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected), ("left out", self.left_out)):
            if names:
                lines.append(f"  {what} ({len(names)}): {', '.join(names[:8])}{' …' if len(names) > 8 else ''}")
        return "\n".join(lines)


def init_from(
    task: nn.Module,
    spec: str | Mapping[str, Any],
    read_directory: Callable[[Path], Mapping[str, Tensor]] | None = None,
) -> InitReport:
    """Load weights into a task that stays what it is otherwise.

    Args:
        task: The task.
        spec: A file, a checkpoint's directory, or the name of a pretrained model. Or a mapping with one of ``path`` (any of
            these), ``archive``, ``checkpoint`` (a directory, a Lightning ``.ckpt`` or ``.safetensors``) and ``pretrained``, with
            ``include`` and ``exclude`` (patterns like ``"model.encoders.*"``; default: everything, nothing) and ``strict``
            (whether missing and unexpected names are an error; default: no).
        read_directory: Reads the weights of a checkpoint's directory. Default: ``model.safetensors``, after its digest.

    Returns:
        What was loaded and what was not; it is logged, too.

    Raises:
        UsageError: If the specification names no source or several, or its patterns match nothing.
        RefusedError: If the source is absent or damaged, or tensors have other shapes.
    """
    settings = _checked(spec)
    source, state = _read(settings, read_directory)
    selected, left_out = _select(state, settings)
    own = task.state_dict()
    if mismatches := shape_mismatches(own, selected):
        raise RefusedError(f"init_from {source}: {'; '.join(mismatches[:10])}. Leave them out: exclude=[…].")
    wanted, _ = _select(own, settings)
    report = InitReport(
        source,
        loaded=[name for name in selected if name in own],
        missing=[name for name in wanted if name not in selected],
        unexpected=[name for name in selected if name not in own],
        left_out=left_out,
    )
    _check(report, settings, state, own)
    with torch.no_grad():
        task.load_state_dict({name: selected[name] for name in report.loaded}, strict=False)
    logger.info("%s", report)
    return report


def _checked(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    given = {"path": spec} if isinstance(spec, str) else spec
    settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if unknown := [key for key in settings if key not in _KEYS]:
        raise UsageError(f"init_from takes {', '.join(_KEYS)}; {unknown[0]!r} is not among them.")
    sources = [f"{key}={settings[key]}" for key in SOURCES if key in settings]
    if len(sources) != 1:
        raise UsageError(f"init_from needs one of {', '.join(SOURCES)}; it has {' and '.join(sources) or 'none'}.")
    for key in ("include", "exclude"):
        if isinstance(patterns := settings.get(key), str):
            settings[key] = [patterns]
    return settings


def _read(
    settings: Mapping[str, Any], read_directory: Callable[[Path], Mapping[str, Tensor]] | None
) -> tuple[str, Mapping[str, Tensor]]:
    if "pretrained" in settings:
        path = find_model(settings["pretrained"])
    else:
        given = str(settings.get("path") or settings.get("archive") or settings.get("checkpoint"))
        path = Path(given).expanduser()
        if "path" in settings and not path.exists():
            path = find_model(given)
    if not path.exists():
        raise RefusedError(f"init_from: {str(path)!r} does not exist.")
    if "archive" in settings or "pretrained" in settings or ("path" in settings and path.suffix == SUFFIX):
        with open_archive(path) as archive:
            return str(path), read_weights(archive.read(WEIGHTS), archive.manifest.aliases)
    if path.is_dir() and read_directory is not None:
        return str(path), read_directory(path)
    return str(path), read_checkpoint(path)


def _select(names: Mapping[str, Tensor], settings: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    include, exclude = settings.get("include", ["*"]), settings.get("exclude", [])
    kept = {name: names[name] for name in sorted(names) if _matches(name, include) and not _matches(name, exclude)}
    return kept, [name for name in sorted(names) if name not in kept]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check(report: InitReport, settings: Mapping[str, Any], state: Iterable[str], own: Iterable[str]) -> None:
    for key in ("include", "exclude"):
        for pattern in settings.get(key, []):
            if not any(fnmatchcase(name, pattern) for name in (*state, *own)):
                raise UsageError(f"init_from.{key}: {pattern!r} matches no tensor, e.g. {json.dumps(list(own)[:3])}.")
    if not report.loaded:
        raise UsageError(f"init_from loads nothing. {report}")
    if settings.get("strict") and (report.missing or report.unexpected):
        raise RefusedError(f"{report}\nWith strict=true nothing may be missing or unexpected.")
