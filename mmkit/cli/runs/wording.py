"""How numbers and times of runs are written in tables."""

import time
from typing import Any


def number(value: Any) -> str:
    """A metric, in as few digits as tell it from another."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def span(seconds: float | None) -> str:
    """A duration.

    Example:
        >>> [span(2.345), span(75), span(3 * 3600 + 62), span(200_000)]
        ['2.3 s', '1 min 15 s', '3 h 01 min', '2 d 07 h']
    """
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def moment(seconds: float | None) -> str:
    """A local time; without the year if it is this one."""
    if seconds is None:
        return ""
    local = time.localtime(seconds)
    layout = "%m-%d %H:%M" if local.tm_year == time.localtime().tm_year else "%Y-%m-%d %H:%M"
    return time.strftime(layout, local)
