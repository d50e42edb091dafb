"""What the commands print: tables for people, JSON for programs."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table


def console(stream: TextIO | None = None) -> Console:
    """A console that colours on a terminal only, not with ``NO_COLOR``, and never breaks a line that is no table's."""
    return Console(file=stream or sys.stdout, highlight=False, soft_wrap=True, markup=False, emoji=False)


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = (), stream: TextIO | None = None
) -> None:
    """Print rows under bold headers on a terminal, and as aligned plain lines otherwise.

    Args:
        columns: Headers. The last column takes what room is left, and is folded on a terminal.
        rows: Cells; None is printed as an empty cell.
        right: Headers of columns that are aligned to the right, such as numbers.
        stream: Where to print; default: standard output.
    """
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    out = console(stream)
    if out.is_terminal:
        out.print(_rich_table(columns, texts, right), soft_wrap=False)
        return
    widths = [max(len(row[index]) for row in [list(columns), *texts]) for index in range(len(columns))]
    for row in [list(columns), *texts]:
        cells = [
            text.rjust(width) if header in right else text.ljust(width)
            for header, text, width in zip(columns, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=stream or sys.stdout)


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in columns:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def show_json(value: Any) -> None:
    """Print one JSON document; paths and other objects as text."""
    json.dump(value, sys.stdout, indent=2, default=str)
    print()


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` to a command."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
