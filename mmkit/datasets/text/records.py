r"""Where the records of a text file start: lines, or lines outside of quotes.

A record ends with ``\n``; a ``\r`` before it belongs to the end, any other ``\r`` to the record. The last record may lack its
end. Lines of nothing but spaces, tabs and the like (what :meth:`bytes.isspace` knows) are no records. All of this is free of
torch: processes that only scan must start fast and stay small.
"""

import codecs
from dataclasses import dataclass
from typing import Any

import numpy as np


NEWLINE, CARRIAGE_RETURN = b"\n\r"
BOM = codecs.BOM_UTF8
_SPACES = b" \t\n\r\x0b\x0c"
_IS_SPACE = np.isin(np.arange(256), list(_SPACES))
_LOOK_AHEAD = 8  # bytes of a line looked at for all suspects at once; text that is indented further is looked at line by line


# Shapes: N bytes of a block, R records that end in it, Q quotes in it.
@dataclass(frozen=True)
class Rules:
    """What is a record.

    Attributes:
        quote: Between two of these, a line end is data (CSV, RFC 4180); ``""`` has every line end a record.
        delimiter: Separates fields; tells whether a quote stands where one may.
    """

    quote: str = ""
    delimiter: str = ""


@dataclass
class Findings:
    """What a scan has found besides the starts of records; positions are bytes of the file.

    Attributes:
        num_records: Their number.
        is_ascii: Whether all bytes are below 128.
        first_invalid: Where the text stops being UTF-8, if it does.
        bad_quote: The first quote that stands where none may, or is never closed.
    """

    num_records: int = 0
    is_ascii: bool = True
    first_invalid: int | None = None
    bad_quote: int | None = None

    def add(self, later: "Findings") -> None:
        """Take in what was found in a later part of the file."""
        self.num_records += later.num_records
        self.is_ascii = self.is_ascii and later.is_ascii
        self.first_invalid = later.first_invalid if self.first_invalid is None else self.first_invalid
        self.bad_quote = later.bad_quote if self.bad_quote is None else self.bad_quote


class RecordScanner:
    """Finds starts of records in the blocks of a file, which it is fed one after the other.

    Args:
        rules: What is a record.
        start: Position of the first byte that it is fed.
        inside: Whether that byte stands between quotes.
        before: The byte before it.
    """

    def __init__(self, rules: Rules, start: int, inside: bool = False, before: int = NEWLINE) -> None:
        self.rules = rules
        self.findings = Findings()
        self.open_start = self.position = start
        self._open_is_blank = True
        self._undecoded = b""
        self._quotes = Quotes(rules, inside, before) if rules.quote else None

    def feed(self, block_N: np.ndarray) -> np.ndarray:
        """Starts (R,) of the records that end in a block, int64."""
        self._validate(block_N)
        ends_R = np.flatnonzero(block_N == NEWLINE) if self._quotes is None else self._quotes.line_ends(block_N, self.position)
        starts_R = self._closed(block_N, ends_R) if len(ends_R) else self._none_closed(block_N)
        self.position += len(block_N)
        self.findings.num_records += len(starts_R)
        return starts_R

    def finish(self) -> np.ndarray:
        """Start of the record that the file's end ends, (1,) or (0,)."""
        if self._undecoded and self.findings.first_invalid is None:
            self.findings.first_invalid = self.position - len(self._undecoded)
        if self._quotes is not None:
            self.findings.bad_quote = self._quotes.finish()
        starts = [] if self._open_is_blank else [self.open_start]
        self.findings.num_records += len(starts)
        return np.array(starts, np.int64)

    def _none_closed(self, block_N: np.ndarray) -> np.ndarray:
        self._open_is_blank = self._open_is_blank and _is_blank(block_N)
        return np.empty(0, np.int64)

    def _closed(self, block_N: np.ndarray, ends_R: np.ndarray) -> np.ndarray:
        starts_R = np.concatenate([[0], ends_R[:-1] + 1])
        kept_R = _not_blank(block_N, starts_R, ends_R)
        kept_R[0] = kept_R[0] or not self._open_is_blank
        starts_R += self.position
        starts_R[0] = self.open_start
        rest = int(ends_R[-1]) + 1
        self.open_start = self.position + rest
        self._open_is_blank = _is_blank(block_N[rest:])
        return starts_R[kept_R]

    def _validate(self, block_N: np.ndarray) -> None:
        found = self.findings
        if found.first_invalid is not None or (not self._undecoded and block_N.max(initial=0) < 128):
            return
        found.is_ascii = False
        data = self._undecoded + block_N.tobytes()
        try:
            _, num_decoded = codecs.utf_8_decode(data, "strict", False)
            self._undecoded = data[num_decoded:]
        except UnicodeDecodeError as error:
            found.first_invalid = self.position - len(self._undecoded) + error.start


class Quotes:
    """Tells line ends from line breaks within quotes, and refuses quotes that RFC 4180 does not know.

    Whether a position stands between quotes is then a matter of counting. A lone quote within a field, which some readers take
    as a character, would turn data and separators around for the rest of the file.

    Args:
        rules: With ``quote`` and ``delimiter``.
        inside: Whether the first block starts between quotes.
        before: The byte before it.
    """

    def __init__(self, rules: Rules, inside: bool, before: int) -> None:
        self.quote = ord(rules.quote)
        separators = [NEWLINE, CARRIAGE_RETURN, self.quote, ord(rules.delimiter)]
        self._may_touch = np.isin(np.arange(256), separators)
        self._inside, self._before = inside, before
        self._closing_at: int | None = None  # a closing quote whose next byte is in the block to come
        self._opened_at = self._bad = None

    def line_ends(self, block_N: np.ndarray, position: int) -> np.ndarray:
        """Offsets (R,) of the line ends outside of quotes."""
        ends_R, quotes_Q = np.flatnonzero(block_N == NEWLINE), np.flatnonzero(block_N == self.quote)
        if self._bad is None:
            self._check(block_N, quotes_Q, position)
        self._before = int(block_N[-1])
        inside_R = (np.searchsorted(quotes_Q, ends_R) + self._inside) % 2 == 1 if len(quotes_Q) else self._inside
        self._inside ^= len(quotes_Q) % 2 == 1
        return ends_R[~inside_R] if len(quotes_Q) else ends_R[: 0 if inside_R else None]

    def finish(self) -> int | None:
        """Position of the first quote that stands where none may, or of the one that is still open."""
        return self._bad if self._bad is not None else self._opened_at if self._inside else None

    def _check(self, block_N: np.ndarray, quotes_Q: np.ndarray, position: int) -> None:
        opening, closing = quotes_Q[int(self._inside) :: 2], quotes_Q[int(not self._inside) :: 2]
        bad = opening[~self._may_touch[block_N[opening - 1]]]  # of one at offset 0, this is the last byte: looked at below
        if len(opening) and opening[0] == 0:
            bad = bad[bad > 0] if self._may_touch[self._before] else opening[:1]
        last = len(block_N) - 1
        bad = [*bad[:1], *closing[~self._may_touch[block_N[np.minimum(closing + 1, last)]]][:1]]  # of the last byte: itself
        if self._closing_at is not None and not self._may_touch[block_N[0]]:
            self._bad = self._closing_at
        elif bad:
            self._bad = position + int(min(bad))
        self._closing_at = position + last if len(closing) and closing[-1] == last else None
        if len(opening):
            self._opened_at = position + int(opening[-1])


def _not_blank(block_N: np.ndarray, starts_R: np.ndarray, ends_R: np.ndarray) -> np.ndarray:
    kept_R = np.ones(len(starts_R), bool)
    open_ = np.flatnonzero(_IS_SPACE[block_N[starts_R]])
    at = starts_R[open_]
    for _ in range(_LOOK_AHEAD):
        if not len(open_):
            return kept_R
        is_end = at == ends_R[open_]
        kept_R[open_[is_end]] = False
        goes_on = ~is_end & _IS_SPACE[block_N[at]]
        open_, at = open_[goes_on], at[goes_on] + 1
    for i in open_:
        kept_R[i] = not _is_blank(block_N[starts_R[i] : ends_R[i]])
    return kept_R


def _is_blank(bytes_N: Any) -> bool:
    return not bytes(bytes_N[:64]).strip() and (len(bytes_N) <= 64 or not bytes(bytes_N).strip())
