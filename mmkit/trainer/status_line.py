"""One line at the bottom of a terminal that is drawn over and over, while everything else scrolls above it."""

import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.live import Live
from rich.text import Text

from mmkit.log_handlers import screen_handlers


_MIN_BAR, _MAX_BAR = 8, 24


@dataclass(frozen=True)
class Status:
    """What a status line says.

    Attributes:
        label: What is being done.
        done: Steps or batches done.
        total: Of how many; None if that is not known.
        unit: What is counted, e.g. ``"step "``.
        facts: Texts in the order of their importance; those for which there is no room are left out.
    """

    label: str
    done: int
    total: float | None
    unit: str = ""
    facts: Sequence[str] = ()

    def laid_out(self, width: int, ascii_only: bool = False) -> Text:
        """The status in one line that is narrower than ``width``: the last column would make some terminals begin another."""
        total = self.total or math.inf
        known = math.isfinite(total)
        counted = f"{self.unit}{self.done}/{total:.0f}" if known else f"{self.unit}{self.done}"
        told, room = "", width - 1 - len(f"{self.label}  {counted}")
        for fact in self.facts:
            if len(told) + len(fact) + 2 + (_MIN_BAR + 1) * known <= room:
                told += f"  {fact}"
        line = Text(f"{self.label} ", no_wrap=True, end="", overflow="crop")
        length = min(_MAX_BAR, room - len(told) - 1)
        if known and length >= _MIN_BAR:
            line.append_text(_bar(length, min(1.0, self.done / total), ascii_only)).append(" ")
        line.append(f"{counted}{told}")
        line.truncate(max(1, width - 1))
        return line


def _bar(length: int, share: float, ascii_only: bool) -> Text:
    filled, sign = round(length * share), "-" if ascii_only else "━"
    rest = " " if ascii_only else sign
    return Text.assemble((sign * filled, "cyan"), (rest * (length - filled), "bright_black"))


def is_possible() -> bool:
    """Whether standard output is a terminal whose cursor can be moved; ``FORCE_COLOR`` makes no terminal of a file."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


class StatusLine:
    """Draws a ``Status``; what is printed or logged meanwhile appears above it.

    Args:
        console: Where; default: a new one for standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stdout, highlight=False)
        self._live: Live | None = None
        self._status: Status | None = None
        self._width = self._length = 0
        self._redirected: list[tuple[logging.StreamHandler, Any]] = []

    def draw(self, status: Status) -> None:
        """Show a status instead of the last one."""
        self._status = status
        if self._live is None:
            before = sys.stdout, sys.stderr
            self._live = _Display(self, console=self.console, auto_refresh=False, transient=True)
            self._live.start()  # puts its own streams in the place of these
            self._redirect_logging(before)
        self._live.refresh()

    def close(self) -> None:
        """Remove the line."""
        live, self._live = self._live, None
        if live is not None:
            for handler, stream in self._redirected:
                handler.setStream(stream)
            self._redirected = []
            live.stop()
            self._length = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._status is not None:
            line = self._status.laid_out(options.max_width, options.ascii_only)
            self._length, self._width = len(line), options.max_width
            yield line

    def clear_what_was_wrapped(self) -> None:
        """Go up to where the line begins: when a terminal becomes narrower, it wraps what is too long by then."""
        width = self.console.width
        if self._length and width < self._width and (rows_above := (self._length - 1) // width):
            self.console.file.write(f"\r\x1b[{rows_above}A\x1b[J")
        self._length, self._width = min(self._length, width), width

    def _redirect_logging(self, before: tuple[TextIO, TextIO]) -> None:
        """Let log handlers print above the line, too: they hold the streams of before."""
        for handler in screen_handlers():
            for original, now in zip(before, (sys.stdout, sys.stderr), strict=True):
                if handler.stream is original and now is not original:
                    self._redirected.append((handler, handler.setStream(now)))


class _Display(Live):
    """Rich goes up as many rows as it has drawn, which is too few once the terminal has wrapped them."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        line = self.get_renderable()
        if isinstance(line, StatusLine):
            line.clear_what_was_wrapped()
        return super().process_renderables(renderables)
