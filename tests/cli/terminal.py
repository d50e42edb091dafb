"""A terminal for tests: a command runs in a pty, and what a person would see of it is returned."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Session:
    """What a command did in a terminal.

    Attributes:
        code: Its exit code.
        raw: All that it wrote, with control sequences.
        screen: What was on the screen at the end, also what had scrolled out at the top.
        screens: The screen after every piece of output.
    """

    code: int
    raw: str
    screen: str
    screens: list[str] = field(default_factory=list)


def run_in_terminal(
    command: Sequence[str | Path],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    columns: int = 80,
    typed: Mapping[str, str] | None = None,
    resize: Callable[[float], int] | None = None,
    seconds: float = 120,
) -> Session:
    """Run a command in a terminal of its own.

    Args:
        command: The command.
        cwd: Where.
        environment: Variables to set; ``COLUMNS``, ``NO_COLOR`` and the like are not inherited.
        columns: Width.
        typed: What to type once a text is on the screen, by that text.
        resize: Called with the seconds since the start; says how wide the terminal is now.
        seconds: The command is killed after so long.
    """
    parent, child = pty.openpty()
    _set_width(child, columns)
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    env = {**inherited, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **(environment or {})}
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=child, stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    screen, decoder = Screen(columns), codecs.getincrementaldecoder("utf-8")("replace")
    raw, screens, waiting, began = "", [], dict(typed or {}), time.monotonic()
    try:
        while True:
            if time.monotonic() - began > seconds:
                os.killpg(process.pid, signal.SIGKILL)
            width = resize(time.monotonic() - began) if resize else columns
            is_quiet = not select.select([parent], [], [], 0.02)[0]
            if is_quiet and width != screen.columns:  # not amid output that is meant for the old width
                _set_width(parent, width)
                screen.resize(width)
            if is_quiet:
                continue
            try:
                text = decoder.decode(os.read(parent, 65536))
            except OSError:  # Linux: the last process has closed the terminal
                break
            if not text and process.poll() is not None:
                break
            raw += text
            screen.write(text)
            screens.append(screen.text())
            for seen in [seen for seen in waiting if seen in screens[-1]]:
                os.write(parent, waiting.pop(seen).encode())
    finally:
        os.close(parent)
    return Session(process.wait(), raw, screen.text(), screens)


def _set_width(descriptor: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


_PIECE = re.compile(r"\x1b\[(?P<numbers>[?\d;]*)(?P<letter>[A-Za-z])|\x1b\][^\x07]*\x07|\x1b.|(?P<char>[^\x1b])", re.DOTALL)


class Screen:
    """As much of a terminal as a status line needs: lines that wrap, cursor up, carriage return, erasing.

    It is as high as it must be, so nothing scrolls out. When its width changes, lines are wrapped anew, as most terminals do.

    Args:
        columns: Width.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._rows: list[list[str]] = [[]]
        self._wrapped = [False]  # whether a row is the continuation of the one before
        self._row, self._column = 0, 0

    def text(self) -> str:
        """The rows, without the spaces at their ends."""
        return "\n".join("".join(row).rstrip() for row in self._rows).rstrip("\n")

    def write(self, text: str) -> None:
        for match in _PIECE.finditer(text):
            if match["char"] is not None:
                self._put(match["char"])
            elif match["letter"] is not None:
                self._control(match["letter"], match["numbers"])

    def _put(self, char: str) -> None:
        if char == "\n":
            self._down(wrapped=False)
        elif char == "\r":
            self._column = 0
        elif char >= " ":
            if self._column == self.columns:
                self._down(wrapped=True)
                self._column = 0
            row = self._rows[self._row]
            row.extend(" " * (self._column + 1 - len(row)))
            row[self._column] = char
            self._column += 1

    def _down(self, wrapped: bool) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])
            self._wrapped.append(wrapped)

    def _control(self, letter: str, numbers: str) -> None:
        number = int(numbers) if numbers.isdigit() else 0
        if letter == "A":
            self._row = max(0, self._row - max(1, number))
        elif letter == "K":
            row = self._rows[self._row]
            row[:] = [] if number == 2 else row[: self._column]
        elif letter == "J":
            self._rows[self._row] = self._rows[self._row][: self._column]
            del self._rows[self._row + 1 :], self._wrapped[self._row + 1 :]

    def resize(self, columns: int) -> None:
        """Wrap all lines anew; the cursor stays behind the same character."""
        lines: list[list[str]] = []
        line_of_cursor, offset = 0, 0
        for index, (row, wrapped) in enumerate(zip(self._rows, self._wrapped, strict=True)):
            if not wrapped:
                lines.append([])
            if index == self._row:
                line_of_cursor, offset = len(lines) - 1, len(lines[-1]) + self._column
            lines[-1].extend(row)
        self.columns, self._rows, self._wrapped = columns, [], []
        for index, line in enumerate(lines):
            if index == line_of_cursor:
                above = max(0, offset - 1) // columns
                self._row, self._column = len(self._rows) + above, offset - above * columns
            pieces = [line[start : start + columns] for start in range(0, len(line), columns)] or [[]]
            self._rows += pieces
            self._wrapped += [number > 0 for number in range(len(pieces))]
