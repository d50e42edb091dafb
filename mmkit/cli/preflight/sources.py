"""Configs as they are loaded to find mistakes: what cannot be read is told and left out."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import InputDefault
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from mmkit.cli.preflight.mistakes import Mistake, one_line, place_of
from mmkit.cli.preflight.positions import place
from mmkit.conf import index


_HEADER = re.compile(r"^\s*#\s*@?\s*package\s+_?global_?\s*$", re.MULTILINE | re.IGNORECASE)
_REFUSED = (ValueError, AssertionError, OmegaConfBaseException)


class Sources(ConfigRepository):
    """Hydra's repository, which tells mistakes in files and goes on.

    Attributes:
        mistakes: What was wrong in the files loaded so far.
        loaded: Every config that was loaded, by its path.
        has_unreadable: Whether a file could not be read at all, so that what is missing may stand in it.
    """

    def __init__(self, search_path: ConfigSearchPath) -> None:
        self.mistakes: list[Mistake] = []
        self.loaded: dict[str, ConfigResult] = {}
        self.has_unreadable = False
        self._indices: dict[int, int] = {}
        super().__init__(search_path)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sources":
        return self  # there is one list of mistakes

    def load_config(self, config_path: str) -> ConfigResult | None:
        try:
            result = super().load_config(config_path)
        except (yaml.YAMLError, ValueError, OmegaConfBaseException, OSError) as error:
            self.mistakes.append(self._unreadable(config_path, error))
            self.has_unreadable = True
            result = ConfigResult("mmkit", "", OmegaConf.create({}), {"package": "_global_"}, [])
        if result is not None:
            self._demand_header(config_path, result)
            self.loaded[config_path] = result
        return result

    def _unreadable(self, config_path: str, error: Exception) -> Mistake:
        path = self.file(config_path) or Path(config_path)
        if isinstance(error, yaml.YAMLError):
            return yaml_mistake(path, error)
        if isinstance(error, GrammarParseError):
            key = error.full_key or ""
            what = f"{one_line(error.msg or '')}: an interpolation is ${{key}} or ${{resolver:argument}}."
            return Mistake("MM303", key, what, place=place(path, key.split(".")) or place_of(path))
        if isinstance(error, UnicodeDecodeError):
            return Mistake("MM501", "", f"the file is not in UTF-8: byte {error.start} cannot be read.", place=place_of(path))
        return Mistake("MM505" if "efault" in str(error) else "MM506", "", str(error), place=place_of(path))

    def _demand_header(self, config_path: str, result: ConfigResult) -> None:
        """An experiment without its header would be put under ``experiment``, where nothing reads it."""
        path = self.file(config_path)
        if not config_path.startswith("experiment/") or result.header.get("package") is not None or path is None:
            return
        result.header["package"] = "_global_"
        found = _HEADER.search(path.read_text(encoding="utf-8"))
        line = path.read_text(encoding="utf-8")[: found.start()].count("\n") + 1 if found else None
        why = f"its header stands in line {line}: only blank lines may come before it" if line else "its first line is missing"
        self.mistakes.append(
            Mistake("MM504", "", f"{why}.", "# @package _global_", "It is the first line of the file.", place_of(path, 1))
        )

    def _create_defaults_list(self, config_path: str, defaults: ListConfig) -> list[InputDefault]:
        """Every item on its own, so that one that is wrong does not hide the others."""
        items: list[InputDefault] = []
        with suppress(*_REFUSED):
            items = super()._create_defaults_list(config_path, defaults)
            self._indices |= {id(item): number for number, item in enumerate(items)}
            return items
        for number, plain in enumerate(OmegaConf.to_container(defaults, resolve=False)):  # pyright: ignore[reportArgumentType]
            try:
                (item,) = super()._create_defaults_list(config_path, OmegaConf.create([plain]))
                self._indices[id(item)] = number
                items.append(item)
            except _REFUSED as error:
                path = self.file(config_path)
                where = (path and place(path, ["defaults", number])) or config_path
                message = str(error) or "a name is expected"
                self.mistakes.append(Mistake("MM505", f"defaults[{number}]", message, "- /group@package: Option", place=where))
        return items

    def place(self, config_path: str, default: InputDefault) -> str:
        """Where an item of a defaults list stands."""
        path = self.file(config_path)
        return (path and place(path, ["defaults", self._indices.get(id(default), 0)])) or config_path

    def file(self, config_path: str) -> Path | None:
        """The file that a config is loaded from; None if it is registered in Python."""
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None or source.scheme() != "file":
            return None
        return Path(source.path, config_path if config_path.endswith(".yaml") else f"{config_path}.yaml")

    def groups(self) -> list[str]:
        """All groups, without Hydra's own."""
        found = {group for group in index.groups() if not group.startswith("hydra")}
        for source in self._folders():
            found |= set(_folders_below(source))
        return sorted(found | set(_below(ConfigStore.instance().repo)))

    def options(self, group: str) -> list[str]:
        """The options of a group. Hydra's own listing would make the configuration of every one."""
        found = {entry.name for entry in index.entries(group)}
        hydras_own = [source for source in self.sources if source.path == "hydra.conf"] if group.startswith("hydra") else []
        for source in [*self._folders(), *hydras_own]:
            if source.is_group(group):
                found |= set(source.list(group, ObjectType.CONFIG))
        return sorted(found | set(_registered(group)))

    def _folders(self) -> list[ConfigSource]:
        return [source for source in self.sources if source.scheme() == "file"]


def _folders_below(source: ConfigSource, parent: str = "") -> Iterator[str]:
    for name in source.list(parent, ObjectType.GROUP) if source.is_group(parent) else []:
        group = f"{parent}/{name}".lstrip("/")
        if not group.startswith(("hydra", "_", ".")):
            yield group
            yield from _folders_below(source, group)


def _below(registered: dict[str, Any], parent: str = "") -> Iterator[str]:
    for name, node in registered.items():
        group = f"{parent}/{name}".lstrip("/")
        if isinstance(node, dict) and not group.startswith("hydra"):
            yield group
            yield from _below(node, group)


def _registered(group: str) -> list[str]:
    node: Any = ConfigStore.instance().repo
    for part in group.split("/"):
        node = node.get(part, {}) if isinstance(node, dict) else {}
    return [name.removesuffix(".yaml") for name, value in node.items() if not isinstance(value, dict)]


def yaml_mistake(path: Path, error: yaml.YAMLError) -> Mistake:
    """Where a file stops being YAML, and why."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = place_of(path, mark.line + 1, mark.column + 1) if mark else place_of(path)
    problem = one_line(getattr(error, "problem", None) or str(error))
    line = _line(path, mark.line) if mark else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return Mistake("MM502", "", "there is a tab; YAML is indented with spaces.", "spaces", place=where)
    suggestion = ""
    if "mapping values are not allowed" in problem:
        key, _, value = line.strip().partition(":")
        suggestion = f'{key}: "{value.strip()}"' if ": " in value else ""
        problem = "a second colon in one line, or a line that is indented too far"
    elif "duplicate key" in problem:
        problem = f"{problem}; a key can be given once"
    return Mistake("MM501", "", f"{problem}: {line.strip()}" if line else problem, suggestion, place=where)


def _line(path: Path, number: int) -> str:
    try:
        return path.read_text(encoding="utf-8").splitlines()[number]
    except (OSError, ValueError, IndexError):
        return ""
