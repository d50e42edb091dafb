"""The status line, on an emulated terminal that wraps lines when it becomes narrower."""

import io
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mmkit.trainer.status_line import Status, StatusLine, is_possible
from tests.cli.terminal import Screen


FACTS = ("0:41 left", "loss 0.3521", "812/s", "lr 0.001", "val/loss 0.3102")


class Terminal(io.StringIO):
    """What is written to it appears on a screen."""

    def __init__(self, columns=80):
        super().__init__()
        self.screen = Screen(columns)
        self.console = Console(
            file=self, force_terminal=True, width=columns, height=24, legacy_windows=False, color_system="truecolor"
        )

    def write(self, text):
        self.screen.write(text.replace("\n", "\r\n"))
        return len(text)

    def isatty(self):
        return True

    def resize(self, columns):
        self.screen.resize(columns)
        self.console.width = columns

    @property
    def lines(self):
        return self.screen.text().splitlines()


@pytest.fixture
def terminal():
    return Terminal()


def test_all_facts_are_shown_where_there_is_room():
    text = Status("epoch 3/10", 120, 500, "step ", FACTS).laid_out(120).plain
    assert text == f"epoch 3/10 {'━' * 24} step 120/500  {'  '.join(FACTS)}"


def test_the_last_facts_give_way_first_and_then_the_bar():
    status = Status("epoch 3/10", 120, 500, "step ", FACTS)
    assert status.laid_out(80).plain.endswith("step 120/500  0:41 left  loss 0.3521  812/s  lr 0.001")
    assert status.laid_out(30).plain == "epoch 3/10 step 120/500"
    assert Status("epoch 3", 120, None, "step ", FACTS).laid_out(30).plain == "epoch 3 step 120  0:41 left"


@given(
    st.integers(1, 200),
    st.integers(0, 10**6),
    st.none() | st.floats(0, 1e6) | st.just(float("inf")),
    st.lists(st.text("ab 1", max_size=30)),
)
def test_a_line_never_reaches_the_last_column(width, done, total, facts):
    text = Status("epoch 3/10", done, total, "step ", facts).laid_out(width)
    assert text.cell_len <= max(1, width - 1)


def test_other_encodings_get_a_bar_of_hyphens():
    assert Status("test", 5, 10).laid_out(80, ascii_only=True).plain == f"test {'-' * 12}{' ' * 12} 5/10"


def test_the_line_is_drawn_over_and_goes_away(terminal):
    line = StatusLine(terminal.console)
    for done in range(3):
        line.draw(Status("test", done, 3))
    assert terminal.lines == [f"test {'━' * 24} 2/3"]
    line.close()
    assert terminal.lines == []


def test_prints_and_logs_appear_above(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal)
    handler = logging.StreamHandler(sys.stdout)
    logger = logging.getLogger("tests.status_line")
    monkeypatch.setattr(logger, "handlers", [handler])
    line = StatusLine(terminal.console)
    line.draw(Status("test", 1, 3))
    print("printed")
    logger.warning("logged")
    line.draw(Status("test", 2, 3))
    assert terminal.lines == ["printed", "logged", f"test {'━' * 24} 2/3"]
    line.close()
    assert (handler.stream, sys.stdout) == (terminal, terminal)
    assert terminal.lines == ["printed", "logged"]


@pytest.mark.parametrize("widths", [(40,), (20,), (15, 80), (30, 60, 10, 80), (79, 78, 77)])
def test_nothing_is_left_over_when_the_terminal_is_resized(terminal, monkeypatch, widths):
    monkeypatch.setattr(sys, "stdout", terminal)
    print("before")
    line = StatusLine(terminal.console)
    status = Status("epoch 3/10", 120, 500, "step ", FACTS)
    line.draw(status)
    for width in widths:
        terminal.resize(width)
        line.draw(status)
    assert len(terminal.lines) == 2
    assert terminal.lines[1] == status.laid_out(widths[-1]).plain
    terminal.resize(10)
    line.close()
    assert terminal.lines == ["before"]


def test_what_is_printed_right_after_a_resize_stands_alone(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal)
    line = StatusLine(terminal.console)
    line.draw(Status("epoch 3/10", 120, 500, "step ", FACTS))
    terminal.resize(30)
    print("printed")
    assert terminal.lines == ["printed", "epoch 3/10 step 120/500"]


def test_a_file_and_a_dumb_terminal_get_none(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert is_possible()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_possible()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not is_possible()
