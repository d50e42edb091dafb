"""How long something may take, as it is written in a configuration."""

import re
from collections.abc import Mapping
from datetime import timedelta

from mmkit.errors import UsageError


_CLOCK = re.compile(r"(?:(?P<days>\d+)[:-])?(?P<hours>\d{1,2}):(?P<minutes>\d\d):(?P<seconds>\d\d)")
_UNITS = re.compile(r"(?:(?P<days>\d+)d)?(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?", re.IGNORECASE)
_ISO = re.compile(r"P(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+S)?)?", re.IGNORECASE)


def parse_duration(value: timedelta | str | Mapping[str, float], key: str = "max_time_per_run") -> timedelta:
    """Read a duration.

    Args:
        value: ``DD:HH:MM:SS`` or ``HH:MM:SS``, SLURM's ``D-HH:MM:SS``, ``1h30m``, ISO 8601 (``PT1H30M``), a ``timedelta`` or its
            arguments.
        key: The configuration key that gave it, for the error.

    Raises:
        UsageError: The value is none of these, or not longer than nothing. A bare number is refused, because YAML reads an
            unquoted ``12:00:00`` as one.

    Example:
        >>> parse_duration("00:12:00:00") == parse_duration("12:00:00") == parse_duration("12h") == parse_duration("PT12H")
        True
    """
    duration = _parsed(value)
    if duration is None or duration <= timedelta(0):
        hint = " YAML reads an unquoted 12:00:00 as a number: put it in quotes." if str(value).isdigit() else ""
        raise UsageError(
            f"{key}={value}: it is a duration longer than nothing, written DD:HH:MM:SS, HH:MM:SS, 1h30m or PT1H30M.{hint}"
        )
    return duration


def _parsed(value: timedelta | str | Mapping[str, float]) -> timedelta | None:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, Mapping):
        try:
            return timedelta(**value)
        except TypeError:
            return None
    text = str(value).strip()
    if _ISO.fullmatch(text):
        text = re.sub("[PT]", "", text, flags=re.IGNORECASE)
    match = _CLOCK.fullmatch(text) or _UNITS.fullmatch(text)
    return timedelta(**{unit: int(number) for unit, number in match.groupdict(default="0").items()}) if match else None
