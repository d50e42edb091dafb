"""Overrides of values, applied one by one, so that every one that is wrong is told."""

from collections.abc import Mapping

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mmkit.cli.preflight.arguments import parsed
from mmkit.cli.preflight.mistakes import Mistake
from mmkit.cli.preflight.names import closest, closest_key, similarity, value_at
from mmkit.cli.preflight.signatures import takes
from mmkit.cli.preflight.sources import Sources
from mmkit.cli.preflight.types import explained, is_unknown_key
from mmkit.cli.preflight.walk import is_open


# Hydra's merge fails with plain errors, too, e.g. where a key is added below a null.
REFUSED = (HydraException, OmegaConfBaseException, ValueError, AssertionError, AttributeError, TypeError)


class Overriding:
    """Applies overrides to a composed configuration.

    Args:
        cfg: The configuration; it is changed.
        choices: The option of every group in use.
        sources: Knows groups and their options.
    """

    def __init__(self, cfg: DictConfig, choices: Mapping[str, str | None], sources: Sources) -> None:
        self.cfg, self.choices, self.sources = cfg, choices, sources
        self.mistakes: list[Mistake] = []

    def apply(self, override: Override) -> None:
        """Apply one; if it is wrong, tell it, and apply what was meant."""
        try:
            ConfigLoaderImpl._apply_overrides_to_config([override], self.cfg)
            return
        except REFUSED as error:
            mistake = self._explained(override, error)
        self.mistakes.append(mistake)
        better = parsed(mistake.suggestion.strip("'")) if mistake.suggestion else None
        if better is not None and better.key_or_group not in self.sources.groups():
            try:
                ConfigLoaderImpl._apply_overrides_to_config([better], self.cfg)
            except REFUSED:
                return  # told once is enough

    def _explained(self, override: Override, error: Exception) -> Mistake:
        line, key = str(override.input_line), override.key_or_group
        if override.package is not None or "/" in key:
            return self._unknown_group(override)
        is_there = value_at(self.cfg, key) is not None
        if override.is_add() and is_there and not isinstance(override.value(), dict | list):
            return Mistake("MM204", line, f"{key} exists already; it is changed without the +.", line[1:])
        if override.is_delete():
            return self._not_deletable(override)
        cause = error.__cause__
        if is_unknown_key(cause) and value_at(self.cfg, key) is None:
            return self._unknown_key(override)
        if isinstance(cause, OmegaConfBaseException):
            return self._wrong_value(override, cause)
        return Mistake("MM900", line, str(error))

    def _unknown_group(self, override: Override) -> Mistake:
        key, line = override.key_or_group, str(override.input_line)
        written = f"{key}@{override.package}" if override.package else key
        group = closest(key, self.sources.groups())
        meant = closest(written, self.choices) if override.package else None
        if meant is None and group:
            meant = f"{group}@{override.package}" if override.package else group
        return Mistake(
            "MM202",
            line,
            f"there is no group {key!r}.",
            line.replace(written, meant, 1) if meant else "",
            "" if meant else f"Groups: {', '.join(self.sources.groups())}.",
        )

    def _not_deletable(self, override: Override) -> Mistake:
        line, key = str(override.input_line), override.key_or_group
        if value_at(self.cfg, key) is not None and "=" in line:
            return Mistake("MM203", line, "it has another value, and is not deleted.", f"~{key}")
        if value_at(self.cfg, key) is not None:
            return Mistake("MM203", line, "Hydra does not delete what is null, or an argument of a component. Give it a value.")
        meant = closest_key(self.cfg, key)
        return Mistake("MM203", line, f"there is no key {key!r} to delete.", f"~{meant}" if meant else "")

    def _unknown_key(self, override: Override) -> Mistake:
        line, key = str(override.input_line), override.key_or_group
        value = line.partition("=")[2]
        parent, _, name = key.rpartition(".")
        what = self._where_it_ends(key)
        if (as_option := self._as_option(override)) is not None:
            return Mistake("MM203", line, what, as_option)
        if parent and takes(value_at(self.cfg, parent), name):
            return Mistake("MM204", line, "the key is not there yet: it is added with a +.", f"+{line.lstrip('+')}")
        meant = closest_key(self.cfg, key)
        if not parent and similarity(key, "experiment") > similarity(key, meant or ""):
            meant = "experiment"
        if meant is None and parent and _takes_any_key(value_at(self.cfg, parent)):
            return Mistake("MM204", line, "the key is not there yet: it is added with a +.", f"+{line.lstrip('+')}")
        return Mistake("MM203", line, what, f"{meant}={value}" if meant else "", "" if meant else self._what_there_is(key))

    def _where_it_ends(self, key: str) -> str:
        """Name the first part that is not there."""
        parts = key.split(".")
        known = 0
        while known < len(parts) and value_at(self.cfg, ".".join(parts[: known + 1])) is not None:
            known += 1
        parent = ".".join(parts[:known])
        return f"there is no key {parts[known] if known < len(parts) else key!r}{f' in {parent}' if parent else ''}."

    def _what_there_is(self, key: str) -> str:
        parts = key.split(".")
        while parts and not isinstance(value_at(self.cfg, ".".join(parts)), DictConfig):
            parts.pop()
        node = value_at(self.cfg, ".".join(parts)) if parts else self.cfg
        names = (
            [str(name) for name in node if not str(name).startswith("_")]
            if isinstance(node, DictConfig) and is_open(node)
            else []
        )
        return f"{'.'.join(parts) or 'There'} has: {', '.join(names[:20])}{' …' if len(names) > 20 else ''}." if names else ""

    def _as_option(self, override: Override) -> str | None:
        """The choice of an option, if a component was to be named by its key: ``task.loss=ContrastiveLoss``."""
        key, value = override.key_or_group, override.value()
        if not isinstance(value, str):
            return None
        for choice in self.choices:
            group, _, package = choice.partition("@")
            package = package or group.replace("/", ".")
            if package == key or package.endswith(f".{key}") or (group.rpartition("/")[2].rstrip("s") == key.rstrip("s")):
                options = self.sources.options(group)
                option = value if value in options else closest(value, options)
                if option:
                    return f"{choice}={option}"
        return None

    def _wrong_value(self, override: Override, cause: OmegaConfBaseException) -> Mistake:
        line, key = str(override.input_line), override.key_or_group
        value = line.partition("=")[2]
        if (as_option := self._as_option(override)) is not None:
            return Mistake("MM301", line, f"{key} is a component: its option is chosen by its group.", as_option)
        message, better = explained(cause, value_at(self.cfg, key))
        if better == "list":
            better = f"[{value}]"
        left = value in ("", '""') or (value.startswith((".", "/")) and not better)
        advice = "If the shell has replaced a $, put the argument in single quotes." if left else ""
        return Mistake("MM301", line, message, f"{line.partition('=')[0]}={better}" if better else "", advice)


def _takes_any_key(node: object) -> bool:
    """Whether keys of any name can be added."""
    if not isinstance(node, DictConfig) or not is_open(node):
        return False
    return node._metadata.object_type in (None, dict) and "_target_" not in node
