"""The configuration inside an archive: YAML without anything that YAML can do beyond data."""

import math
from collections.abc import Mapping
from typing import Any

import yaml

from mmkit.archive.format import CONFIG
from mmkit.errors import RefusedError


MAX_DEPTH = 64
MAX_NODES = 50_000


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, and merging by ``<<``."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)  # pyright: ignore[reportArgumentType]
            if not isinstance(key, str | int | float):
                raise RefusedError(f"{CONFIG}: the key {key!r} is neither text nor a number.")
            if key in seen:
                raise RefusedError(f"{CONFIG}: the key {key!r} stands there twice.")
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_config(config: Mapping[str, Any]) -> bytes:
    """The text of a configuration: equal configurations give equal bytes, and :func:`load_config` gives the same back.

    Raises:
        ValueError: If a value is no data that YAML can hold.
    """
    options = {"sort_keys": False, "default_flow_style": False, "width": math.inf}
    for as_it_is in (True, False):  # a few characters, U+0085 among them, come back changed unless they are escaped
        text = yaml.dump(dict(config), Dumper=_Dumper, allow_unicode=as_it_is, **options).encode()
        try:
            loaded = load_config(text)
        except RefusedError as error:
            raise ValueError(f"The configuration cannot be written: {error}") from error
        if repr(loaded) == repr(dict(config)):
            return text
    raise ValueError("The configuration cannot be written as YAML and read back; a text in it holds unusual characters.")


def load_config(data: bytes) -> dict[str, Any]:
    """Read a configuration.

    Args:
        data: The text.

    Raises:
        RefusedError: If it is no YAML mapping, or uses anchors, aliases, tags, merge keys or several documents, or is too deep
            or too long.
    """
    try:
        text = data.decode("utf-8")
        _check_events(text)
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise RefusedError(f"{CONFIG} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(value, dict):
        raise RefusedError(f"{CONFIG} holds a {type(value).__name__}, not a mapping.")
    return value


def _check_events(text: str) -> None:
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise RefusedError(f"{CONFIG} uses an anchor or alias ({event.anchor!r}); an archive's configuration has none.")
        if getattr(event, "tag", None) is not None:
            raise RefusedError(f"{CONFIG} uses the tag {event.tag!r}; an archive's configuration has none.")
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            raise RefusedError(f"{CONFIG} uses the merge key <<; an archive's configuration has none.")
        if depth > MAX_DEPTH or count > MAX_NODES or documents > 1:
            raise RefusedError(f"{CONFIG} is deeper than {MAX_DEPTH}, longer than {MAX_NODES} nodes, or several documents.")
