"""Loading Hugging Face models from the hub, a directory or an inline configuration."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mmkit.extras import require, resolve_location


def load_model(model_class: Any, name: str | None, config: dict[str, Any] | None, pretrained: bool, needed_by: str) -> Any:
    """Build a Hugging Face model in the default dtype.

    Args:
        model_class: ``AutoModel`` or a model class.
        name: Hub name, directory, or ``pkg://package/folder``; None for an inline configuration alone.
        config: Beside a name: entries that override its configuration. Alone: the whole configuration, weights are random.
        pretrained: Whether the weights of ``name`` are loaded; if not they are random.
        needed_by: The component that asks, named in errors.

    Raises:
        ValueError: Neither name nor configuration is given, ``model_type`` is unknown, or ``name`` cannot be loaded.
    """
    entries = dict(config or {})
    dtype = entries.pop("dtype", torch.get_default_dtype())  # transformers 5 keeps that of the file: float16 would not train
    if name is None:
        return _from_config(model_class, _inline_config(model_class, entries, needed_by), dtype)
    location = resolve_location(name)
    try:
        if pretrained:
            with _no_bar_for_files(location, needed_by):
                return model_class.from_pretrained(location, dtype=dtype, **entries)
        return _from_config(model_class, _config_class(model_class).from_pretrained(location, **entries), dtype)
    except (OSError, ValueError) as error:
        raise ValueError(_cannot_load(location, needed_by, error)) from error


@contextmanager
def _no_bar_for_files(location: str, needed_by: str) -> Iterator[None]:
    """Show transformers' progress bars for downloads only; reading a file takes no time."""
    logging = require("transformers", "text", needed_by).utils.logging
    silence = Path(location).is_dir() and logging.is_progress_bar_enabled()
    if silence:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if silence:
            logging.enable_progress_bar()


def _config_class(model_class: Any) -> Any:
    return getattr(model_class, "config_class", None) or require("transformers", "text", "AutoConfig").AutoConfig


def _from_config(model_class: Any, config: Any, dtype: Any) -> Any:
    build = getattr(model_class, "from_config", model_class)  # AutoModel cannot be called
    return build(config).to(dtype)


def _inline_config(model_class: Any, entries: dict[str, Any], needed_by: str) -> Any:
    config_class = _config_class(model_class)
    if not hasattr(config_class, "for_model"):
        entries.pop("model_type", None)
        return config_class(**entries)
    if "model_type" not in entries:
        raise ValueError(
            f"{needed_by} needs `model_name_or_path` (a hub name or a directory), or `config` with a `model_type`, e.g. "
            "{model_type: bert, hidden_size: 128, num_hidden_layers: 2}."
        )
    known = list(require("transformers", "text", needed_by).CONFIG_MAPPING)
    if entries["model_type"] not in known:
        close = difflib.get_close_matches(entries["model_type"], known, n=3)
        raise ValueError(
            f"Unknown model_type {entries['model_type']!r} in the config of {needed_by}. Transformers knows {len(known)} "
            f"of them{', among them ' + ', '.join(close) if close else ', e.g. bert, roberta, gpt2'}."
        )
    return config_class.for_model(**entries)


def _cannot_load(location: str, needed_by: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    if Path(location).is_dir():
        return f"{needed_by} cannot load a model from the directory {location!r}: {reason}"
    return (
        f"{needed_by} cannot load {location!r}: there is no such directory, and the Hugging Face hub did not give it ({reason}) "
        "Allowed: a local directory made by save_pretrained, an inline `config` (random weights), or a hub name with network."
    )
