"""What OmegaConf says about a value or a key that does not fit, in plain words."""

import re

from omegaconf import DictConfig, ListConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mmkit.cli.preflight.names import as_text
from mmkit.errors import first_line


_KINDS = {
    "Integer": "an integer",
    "int": "an integer",
    "Float": "a number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "String": "text",
}
_CONVERT = re.compile(r"Value '(.*)' of type '(\w+)' could not be converted to (\w+)", re.DOTALL)
_NONE = re.compile(r"Incompatible value 'None' for field of type '([^']+)'")
_BOOL = re.compile(r"Value '(.*)' is not a valid bool", re.DOTALL)
_ENUM = re.compile(r"Invalid value '(.*)', expected one of \[(.*)\]", re.DOTALL)


def is_unknown_key(error: BaseException | None) -> bool:
    """Whether an error says that there is no such key."""
    return isinstance(error, ConfigKeyError | ConfigAttributeError)


def explained(error: OmegaConfBaseException, expected: object = None) -> tuple[str, str]:
    """What is wrong with a value, and what to give instead if that is clear.

    Args:
        error: What OmegaConf raised.
        expected: The node that the value was for.
    """
    text = error.msg or first_line(error)
    if match := _CONVERT.search(text):
        return _not_convertible(*match.groups())
    if match := _BOOL.search(text):
        return f"{match[1]!r} is not true or false.", {"none": "null", "null": "null"}.get(match[1].lower(), _bool(match[1]))
    if match := _NONE.search(text):
        return f"null is not allowed here; {_KINDS.get(match[1], match[1])} is.", ""
    if match := _ENUM.search(text):
        return f"{match[1]!r} is not allowed; it is one of {match[2]}.", ""
    if isinstance(expected, ListConfig) or "is not a ListConfig" in text:
        return "a list is expected.", "list"
    if isinstance(expected, DictConfig):
        return f"a group of keys is expected here: {', '.join(map(str, list(expected)[:6])) or 'key: value'}.", ""
    return text.splitlines()[0], ""


def _not_convertible(value: str, kind: str, wanted: str) -> tuple[str, str]:
    message = f"{value!r} is not {_KINDS.get(wanted, wanted)}."
    if value.lower() in ("none", "nil", "nan") and kind == "str":
        return message, "null"
    try:
        number = float(value.replace("_", "").replace(",", "."))
    except ValueError:
        number = None
    if wanted in ("Integer", "int") and number is not None and number == int(number):
        return message, str(int(number))
    if wanted in ("Integer", "int") and number is not None:
        return message, str(round(number))
    return message, as_text(number) if number is not None and wanted in ("Float", "float") else ""


def _bool(value: str) -> str:
    low = value.lower().strip()
    if low[:1] in ("t", "y") or low in ("on", "enable", "enabled"):
        return "true"
    return "false" if low[:1] in ("f", "n") or low in ("off", "disable", "disabled") else ""
