"""Finding archives by name: in folders and index files that ``MMKIT_MODELS`` lists, and on the Hugging Face hub.

``MMKIT_MODELS`` holds one or several places, separated as in ``PATH``: a folder with archives, an index file (JSON or YAML), or
``hf:owner`` for that owner's models on the hub. An index file maps names to files::

    clip-small: {path: clip-small.mmkit, description: trained on emoji, sha256: 0ab1…}
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmkit.archive.format import SUFFIX
from mmkit.errors import RefusedError, UsageError
from mmkit.extras import MissingExtraError, require


logger = logging.getLogger(__name__)

VARIABLE = "MMKIT_MODELS"
HUB = "hf:"
_REPOSITORY = re.compile(r"(hf:)?([A-Za-z0-9][\w.-]*/[\w.-]+)")


@dataclass(frozen=True)
class AvailableModel:
    """A model that ``from_pretrained`` finds by its name.

    Attributes:
        name: Its name.
        location: The file, or ``hf:owner/name``.
        description: What it is, as the index says.
        sha256: Digest of the file, if the index states it.
    """

    name: str
    location: str
    description: str = ""
    sha256: str | None = None


def list_available_models() -> list[AvailableModel]:
    """Models in the places that ``MMKIT_MODELS`` lists, in order of their names.

    Of several with one name, the first place wins. A hub that cannot be reached is left out with a warning.

    Raises:
        UsageError: If a place does not exist or an index file says nothing that is understood.
    """
    found: dict[str, AvailableModel] = {}
    for place in filter(None, _places()):
        for model in _models_at(place):
            found.setdefault(model.name, model)
    return [found[name] for name in sorted(found)]


def find_model(name: str | Path) -> Path:
    """The archive's file.

    Args:
        name: A file, the name of an available model, or ``owner/name`` on the hub.

    Raises:
        RefusedError: If there is none, or its digest is not the one that the index states.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    models = {model.name: model for model in list_available_models()}
    model = models.get(str(name), AvailableModel(str(name), str(name)))
    if match := _REPOSITORY.fullmatch(model.location):
        return _download(match.group(2))
    if str(name) not in models:
        raise RefusedError(
            f"{str(name)!r} is neither a file nor an available model. Known: {', '.join(models) or 'none'}. {VARIABLE} lists "
            "where they are looked for."
        )
    return _checked(model)


def from_pretrained(name_or_path: str | Path, **kwargs: Any) -> Any:
    """Restore a trained task.

    Args:
        name_or_path: A file, the name of an available model (:func:`list_available_models`), or ``owner/name`` on the hub.
        **kwargs: As for :meth:`~mmkit.archive.Restorable.restore_from`: ``map_location``, ``strict``, ``override_config``,
            ``return_config``, ``trust``.

    Returns:
        The task.

    Raises:
        RefusedError: If there is no such model, or the file is refused.
    """
    from mmkit.archive.restorable import Restorable
    from mmkit.archive.restore import restore_archive

    return restore_archive(find_model(name_or_path), **{"base": Restorable, **kwargs})


def _places() -> Iterator[str]:
    # "hf:owner" itself has a colon, which separates places on POSIX
    parts = iter(os.environ.get(VARIABLE, "").split(os.pathsep))
    for part in parts:
        yield f"{HUB}{next(parts, '')}" if os.pathsep == ":" and part == HUB.rstrip(":") else part


def _models_at(place: str) -> Iterator[AvailableModel]:
    if place.startswith(HUB):
        yield from _models_on_hub(place.removeprefix(HUB))
        return
    path = Path(place).expanduser()
    if path.is_dir():
        for file in sorted(path.rglob(f"*{SUFFIX}")):
            yield AvailableModel(file.relative_to(path).with_suffix("").as_posix(), str(file))
    elif path.is_file():
        yield from _models_of_index(path)
    else:
        raise UsageError(f"{VARIABLE} names {place!r}, which is neither a folder nor an index file.")


def _models_of_index(path: Path) -> Iterator[AvailableModel]:
    try:
        index = yaml.safe_load(path.read_text("utf-8"))  # JSON is YAML, too
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"The index file {path} cannot be read: {error}") from error
    if not isinstance(index, dict):
        raise UsageError(f"The index file {path} must map names to {{path, description, sha256}}.")
    for name, entry in index.items():
        entry = {"path": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or "path" not in entry or set(entry) - {"path", "description", "sha256"}:
            raise UsageError(f"The index file {path}: {name!r} must have a path, and may have description and sha256.")
        place = str(entry["path"])
        location = place if place.startswith(HUB) else str(path.parent / Path(place).expanduser())
        yield AvailableModel(str(name), location, str(entry.get("description", "")), entry.get("sha256"))


def _models_on_hub(owner: str) -> Iterator[AvailableModel]:
    try:
        hub = require("huggingface_hub", extra="text", needed_by=f"{VARIABLE}={HUB}{owner}")
        models = list(hub.list_models(author=owner, filter="mmkit"))
    except (OSError, MissingExtraError, RuntimeError) as error:
        logger.warning("The hub's models of %s are left out: %s", owner, str(error).strip().splitlines()[0])
        return
    for model in models:
        yield AvailableModel(model.id, f"{HUB}{model.id}")


def _download(repository: str) -> Path:
    """The archive of a repository on the hub, from the local cache if it is there."""
    hub = require("huggingface_hub", extra="text", needed_by=f"from_pretrained({repository!r})")
    try:
        folder = Path(hub.snapshot_download(repository, allow_patterns=f"*{SUFFIX}"))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RefusedError(f"{repository!r} is no file, and the Hugging Face hub did not give it: {reason}") from error
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if len(files) != 1:
        raise RefusedError(f"The repository {repository!r} has {len(files)} files *{SUFFIX}; one is expected.")
    return files[0]


def _checked(model: AvailableModel) -> Path:
    path = Path(model.location)
    if not path.is_file():
        raise RefusedError(f"The model {model.name!r} should be {path}, where there is no file.")
    if model.sha256 is not None:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != model.sha256:
                raise RefusedError(f"{path} is not the model {model.name!r}: its SHA-256 is not the one in the index.")
    return path
