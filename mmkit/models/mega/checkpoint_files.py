"""Read tensors and settings from checkpoint files without running anything that is in them."""

import argparse
import json
import pickle
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmkit.errors import RefusedError


@dataclass
class Checkpoint:
    """What a file or a folder holds.

    Attributes:
        tensors: Parameters and buffers under the names of the file.
        config: Keywords of ``MegaConfig`` of a Hugging Face checkpoint; ``None`` for an original one.
        arguments: The arguments of an original model; empty if the file has none.
    """

    tensors: dict[str, Tensor]
    config: dict[str, Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(source: Path) -> Checkpoint:
    """Read a Hugging Face folder, a fairseq file, or the folder that the first port was converted from.

    Raises:
        RefusedError: If something is missing, broken, or would have to be executed.
    """
    if not source.exists():
        raise RefusedError(f"There is no file or folder {source}.")
    if source.is_file():
        return _from_fairseq(source)
    if (source / "config.json").is_file():
        return Checkpoint(_folder_tensors(source), config=read_json(source / "config.json"))
    if (source / "encoder_weights.pt").is_file():
        return _from_parts(source)
    raise RefusedError(
        f"The folder {source} holds neither config.json (a Hugging Face model) nor encoder_weights.pt (an original one). "
        "For a fairseq checkpoint give the file itself, e.g. checkpoint_best.pt."
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    if not path.is_file():
        raise RefusedError(f"There is no file {path}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise RefusedError(f"{path} must hold a JSON object, but holds {type(content).__name__}.")
    return content


def _from_fairseq(path: Path) -> Checkpoint:
    content = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    model = content.get("model", content)
    settings = content.get("args") or (content.get("cfg") or {}).get("model") or {}
    return Checkpoint(_only_tensors(model, path), arguments=_as_dict(settings))


def _from_parts(folder: Path) -> Checkpoint:
    tensors = _only_tensors(_unpickled(folder / "encoder_weights.pt"), folder)
    head = folder / "mlm_head_weights.pt"
    if head.is_file():
        tensors |= {f"mlm_head.{name}": tensor for name, tensor in _only_tensors(_unpickled(head), head).items()}
    settings = folder / "model_args.pkl"
    return Checkpoint(tensors, arguments=_read_settings(settings) if settings.is_file() else {})


def _folder_tensors(folder: Path) -> dict[str, Tensor]:
    for stem, end in (("model", "safetensors"), ("pytorch_model", "bin")):
        names = [f"{stem}.{end}"]
        if (index := folder / f"{stem}.{end}.index.json").is_file():
            names = sorted(set(read_json(index).get("weight_map", {}).values()))
        if (folder / names[0]).is_file():
            parts = [_safetensors(folder / name) if end == "safetensors" else _unpickled(folder / name) for name in names]
            return {name: tensor for part in parts for name, tensor in _only_tensors(part, folder).items()}
    raise RefusedError(f"The folder {folder} has config.json, but neither model.safetensors nor pytorch_model.bin.")


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RefusedError(f"{path} cannot be read as safetensors: {error}") from error


def _unpickled(path: Path) -> dict[str, Any]:
    """``torch.load`` of tensors, numbers, texts and ``argparse.Namespace``, which fairseq keeps the arguments in."""
    if path.is_file() and not _begins_as_checkpoint(path):
        raise RefusedError(f"{path} is no PyTorch checkpoint: it is neither a zip file nor a pickle.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RefusedError(_refused_objects(path, error)) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise RefusedError(f"{path} cannot be read as a PyTorch checkpoint: {_first_line(error)}") from error
    if not isinstance(content, Mapping):
        raise RefusedError(f"{path} must hold a dictionary of tensors, but holds {type(content).__name__}.")
    return dict(content)


def _begins_as_checkpoint(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2).startswith((b"PK", pickle.PROTO))


def _refused_objects(path: Path, error: Exception) -> str:
    found = [line for line in str(error).replace("`", "'").splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return (
        f"{path} holds more than tensors and was not executed ({found[0].strip() if found else _first_line(error)}). "
        "If you trust it, load it where its code is installed and save what is needed: "
        'torch.save({"model": checkpoint["model"], "args": argparse.Namespace(...)}, NEW).'
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _only_tensors(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise RefusedError(f"{path} holds no dictionary of tensors. A fairseq checkpoint has one under 'model'.")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _as_dict(settings: Any) -> dict[str, Any]:
    return dict(settings) if isinstance(settings, Mapping) else dict(vars(settings))


_PLAIN_CLASSES = {("argparse", "Namespace"): argparse.Namespace, ("types", "SimpleNamespace"): types.SimpleNamespace}


class _SettingsUnpickler(pickle.Unpickler):
    """Makes numbers, texts, containers and two classes without behaviour; anything else is refused before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if found := _PLAIN_CLASSES.get((module, name)):
            return found
        raise pickle.UnpicklingError(f"Unsupported object {module}.{name}")


def _read_settings(path: Path) -> dict[str, Any]:
    """The arguments in ``model_args.pkl``: ``{"mega_args": Namespace, "depth", "vocab_size"}``."""
    try:
        with path.open("rb") as file:
            content = _as_dict(_SettingsUnpickler(file).load())
    except Exception as error:  # a broken pickle raises anything
        message = f"{path} was not read ({_first_line(error)}). Move it away and give the settings with --config."
        raise RefusedError(message) from error
    return _as_dict(content.get("mega_args", content))
