"""Who has set a key: an argument, or a line of a file."""

from collections.abc import Callable, Sequence
from functools import cached_property

from hydra.core.default_element import ResultDefault

from mmkit.cli.preflight.arguments import parsed
from mmkit.cli.preflight.positions import place
from mmkit.cli.preflight.sources import Sources


class Origins:
    """What a configuration was composed from; files are looked into only if there is something to tell.

    Args:
        sources: Gives where files are.
        defaults: Gives the configs in their order.
        overrides: The overrides that were applied.
    """

    def __init__(
        self, sources: Callable[[], Sources], defaults: Callable[[], Sequence[ResultDefault]], overrides: Sequence[str]
    ) -> None:
        self._sources, self._defaults, self.overrides = sources, defaults, overrides

    @cached_property
    def sources(self) -> Sources:
        """Where files are."""
        return self._sources()

    @cached_property
    def defaults(self) -> Sequence[ResultDefault]:
        """The configs in their order."""
        return self._defaults()

    def typed(self, key: str) -> str | None:
        """The last argument that has set a key, or a key above it."""
        for text in reversed(self.overrides):
            override = parsed(text)
            if override is not None and not override.is_delete() and f"{key}.".startswith(f"{override.key_or_group}."):
                return text
        return None

    def typed_below(self, key: str) -> str | None:
        """The last argument that has set a key below this one."""
        read = [(text, parsed(text)) for text in self.overrides]
        found = [text for text, override in read if override is not None and override.key_or_group.startswith(f"{key}.")]
        return found[-1] if found else None

    def place(self, key: str) -> str:
        """The line that has set a key; empty if none has."""
        parts: list[str | int] = [*key.replace("[", ".").replace("]", "").split(".")]
        for default in reversed(self.defaults):
            path = self.sources.file(str(default.config_path))
            package = (default.package or "").split(".") if default.package else []
            if path is None or parts[: len(package)] != package:
                continue
            if len(parts) > len(package) and (found := place(path, parts[len(package) :])):
                return found
        return ""
