"""Plain values as YAML on one line. PyYAML's dumper takes milliseconds where these take microseconds."""

import re
from typing import Any

import yaml


# Strings that need no quotes: words and paths, which no rule of YAML makes into something else.
_PLAIN = re.compile(r"[A-Za-z_/$](?:[\w./${}-]|:(?=[\w/$]))*(?: [\w./${}-]+)*|\?\?\?")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def scalar(value: Any) -> str:
    """One value that is no container.

    Example:
        >>> [scalar(value) for value in (None, True, 3, 0.5, 1e-5, "a b", "yes", "3", "a: b", "${x:y}")]
        ['null', 'true', '3', '0.5', '1.0e-05', 'a b', '"yes"', '"3"', '"a: b"', '${x:y}']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and is_plain(value):
        return value
    if isinstance(value, float):
        return yaml.safe_dump(value).partition("\n")[0]
    text = value if isinstance(value, bytes | str) else getattr(value, "name", str(value))  # an enum by its name
    return yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True).rstrip("\n")


def is_plain(text: str) -> bool:
    """Whether a string can stand in YAML without quotes, in block style."""
    return bool(_PLAIN.fullmatch(text)) and text.lower() not in _WORDS


def flow(value: Any) -> str:
    """A value on one line.

    Example:
        >>> flow({"top_k": [1, 10], "name": None, "empty": {}})
        '{top_k: [1, 10], name: null, empty: {}}'
    """
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(
                f"{_inside(name)}: {flow(item) if _is_container(item) else _inside(item)}" for name, item in value.items()
            )
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) if _is_container(item) else _inside(item) for item in value) + "]"
    return scalar(value)


def _inside(value: Any) -> str:
    """A scalar in flow style, where braces have a meaning."""
    text = scalar(value)
    return f'"{text}"' if isinstance(value, str) and not text.startswith('"') and re.search(r"[{}?]", text) else text


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)
