"""The configuration of a task in memory: plain data, resolved when it is set."""

import dataclasses
import enum
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mmkit.archive.config_rules import join, leaves
from mmkit.errors import UsageError


_SECRET_KEY = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|credentials?|private_?key|(api|access|secret|auth)_?key|"
    r"(auth|access|api|bearer|refresh|hf|hub|wandb)_?token)($|_)|^(use_auth_)?token$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"\b(hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|sk-[A-Za-z0-9_-]{32,})\b|://[^/@\s]*:[^/@\s]+@"
)


def plain_data(config: Any) -> dict[str, Any]:
    """A configuration as lists, dictionaries, texts and numbers, with its interpolations resolved.

    Paths in Hydra's run directory are written relative to it, ``./retrievals.png``: it ends with the run.

    Args:
        config: A mapping, a ``DictConfig`` or a config made by ``hydra_zen.builds``.

    Raises:
        UsageError: If it is none of these, or names no ``_target_``.
    """
    if not isinstance(config, DictConfig):
        if not isinstance(config, Mapping) and not dataclasses.is_dataclass(config):
            raise UsageError(f"A task's config is a mapping with a `_target_`, not a {type(config).__name__}.")
        config = OmegaConf.structured(config) if dataclasses.is_dataclass(config) else OmegaConf.create(dict(config))
    if "_target_" not in config:
        raise UsageError(f"A task's config names its class as `_target_`; this one has the keys {list(config)[:8]}.")
    resolved = OmegaConf.to_container(config, resolve=True)
    return _plain(resolved, run_directory())


def run_directory() -> str | None:
    """Hydra's run directory; None outside of its runs."""
    return HydraConfig.get().runtime.output_dir if HydraConfig.initialized() else None


def _plain(value: Any, run_dir: str | None) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item, run_dir) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, run_dir) for item in value]
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str) and run_dir and value.startswith(f"{run_dir}/"):
        return f".{value.removeprefix(run_dir)}"
    return value  # what no file can hold is an error when the task is saved: training does not need it to be savable


def without_secrets(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration with nulls for secrets, and the keys of these.

    A secret is known by the name of its key (``api_key``), or by its shape (a user's password in an address).
    """
    withheld = [key for key, value in leaves(config) if isinstance(value, str) and value and _is_secret(key, value)]
    return replaced(config, dict.fromkeys(withheld)), withheld


def _is_secret(key: str, value: str) -> bool:
    return _SECRET_KEY.search(key.rpartition(".")[2]) is not None or _SECRET_VALUE.search(value) is not None


def replaced(value: Any, replacements: Mapping[str, Any], key: str = "") -> Any:
    """A copy of a configuration with other values under some dotted keys."""
    if isinstance(value, dict):
        return {name: replaced(item, replacements, join(key, name)) for name, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, replacements, join(key, index)) for index, item in enumerate(value)]
    return replacements.get(key, value)


def merged(config: dict[str, Any], override: Any) -> dict[str, Any]:
    """A configuration with some of its values changed.

    Args:
        config: The configuration.
        override: A mapping whose values are put over those of the configuration, nested mappings key by key; keys may be dotted.
            Or a list of texts: ``["loss.l2_normalize=true", "~evaluation_tasks.sheet"]``.

    Raises:
        UsageError: If it is neither, or names a place that does not exist.
    """
    result = replaced(config, {})
    if isinstance(override, Mapping):
        plain = OmegaConf.to_container(OmegaConf.create(dict(override)), resolve=True)
        for key, value in plain.items():  # pyright: ignore
            _put(result, str(key), value)
        return result
    if isinstance(override, str) or not all(isinstance(item, str) for item in override):
        raise UsageError(f"override_config is a mapping or a list of texts key=value, not {override!r}.")
    for item in override:
        key, equals, value = item.lstrip("+").partition("=")
        if item.startswith("~"):
            _remove(result, item[1:])
        elif equals:
            _put(result, key, OmegaConf.select(OmegaConf.from_dotlist([f"value={value}"]), "value"))
        else:
            raise UsageError(f"override_config: {item!r} is neither key=value nor ~key.")
    return result


def _put(config: dict[str, Any], key: str, value: Any) -> None:
    value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    place, name = _place(config, key)
    old = place.get(name) if isinstance(place, dict) else place[name]
    if isinstance(old, dict) and isinstance(value, dict):
        for inner, item in value.items():
            _put(old, str(inner), item)
    else:
        place[name] = value


def _remove(config: dict[str, Any], key: str) -> None:
    place, name = _place(config, key)
    if isinstance(place, dict) and name not in place:
        raise UsageError(f"override_config: there is no {key!r} to remove. Keys there: {', '.join(map(str, place))}.")
    del place[name]


def _place(config: Any, key: str) -> tuple[Any, Any]:
    *outer, name = key.split(".")
    for part in outer:
        if isinstance(config, dict):
            config = config.setdefault(part, {})
        elif isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        else:
            raise UsageError(f"override_config: there is no {key!r}: {part!r} is not in it.")
    if isinstance(config, list) and name.isdecimal() and int(name) < len(config):
        return config, int(name)
    if not isinstance(config, dict):
        raise UsageError(f"override_config: there is no {key!r}.")
    return config, name
