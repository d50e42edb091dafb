"""The documents of one file: lines, fields of CSV records, fields of JSON lines."""

import csv
import json
import mmap
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from mmkit.datasets.text.container import reopened
from mmkit.datasets.text.index import RecordIndex, line_at, not_utf8
from mmkit.errors import RefusedError


_ESCAPED = re.compile("[\udc80-\udcff]")


class Documents(ABC):
    """Random access to the documents of a file, through a memory map that every process opens itself.

    Args:
        index: Where the records start.
        invalid_bytes: ``"error"`` refuses a file that is not UTF-8; ``"replace"`` reads every byte that is not as U+FFFD.

    Raises:
        RefusedError: The file is not UTF-8.
    """

    def __init__(self, index: RecordIndex, invalid_bytes: str) -> None:
        if index.findings.first_invalid is not None and invalid_bytes == "error":
            raise not_utf8(index.source, index.findings.first_invalid)
        self.index = index
        self._open()

    def __len__(self) -> int:
        return self._num

    @abstractmethod
    def text(self, number: int) -> str:
        """A document.

        Raises:
            RefusedError: The record does not have the field.
        """

    def piece(self, number: int, begin: int, end: int | None) -> str:
        """Part of a document, between two of the offsets that :meth:`offsets` gives; ``None`` is its end."""
        return self.text(number)[begin:end]

    def offsets(self, number: int, characters: Sequence[int]) -> Sequence[int]:
        """What :meth:`piece` takes for positions in :meth:`text`."""
        return characters

    def record_sizes(self) -> np.ndarray:
        """Bytes of every record, its line end included: no less than its document has."""
        return np.diff(self.index.starts)

    @property
    def is_ascii(self) -> bool:
        """Whether all documents certainly are ASCII."""
        return self.index.findings.is_ascii

    def settings(self) -> list[Any]:
        """What tells the documents of a file from others that could be made of it."""
        return [type(self).__name__]

    def refusal(self, number: int, what: str) -> RefusedError:
        """An error that names the file and the line where a record starts."""
        return RefusedError(f"{self.index.source}, line {line_at(self.index.source, self._starts[number])}: {what}")

    def _record(self, number: int) -> bytes:
        """The bytes of a record, without its line end and the blank lines that follow."""
        start, end = self._starts[number], self._starts[number + 1]
        stop = self._bytes.find(b"\n", start, end)
        return self._bytes[start:end] if stop < 0 else _without_return(self._bytes[start:stop])

    def _open(self) -> None:
        self._num = len(self.index)
        self._starts = memoryview(self.index.starts)  # pyright: ignore[reportArgumentType]  # a third of the time of an array
        with self.index.source.open("rb") as file:
            stat = os.fstat(file.fileno())
            if (stat.st_size, stat.st_mtime_ns) != (self.index.stamp.size, self.index.stamp.mtime_ns):
                raise RefusedError(f"{self.index.source} changed after it was opened. Start again.")
            self._bytes: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if stat.st_size else b""

    def __getstate__(self) -> dict[str, Any]:
        index = self.index
        kept = {name: value for name, value in vars(self).items() if name not in ("index", "_starts", "_bytes")}
        return {**kept, "index": (index.source, index.stamp, index.container.path, index.container.checksum, index.findings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        source, stamp, path, checksum, findings = state.pop("index")
        vars(self).update(state)
        self.index = RecordIndex(source, stamp, reopened(path, checksum), findings)
        self._open()


class Lines(Documents):
    """Every line is a document."""

    def text(self, number: int) -> str:
        return decoded(self._record(number))

    def piece(self, number: int, begin: int, end: int | None) -> str:
        if end is None:
            return decoded(self._record(number)[begin:])
        start = self._starts[number]
        return decoded(self._bytes[start + begin : start + end])  # not the whole line, which may be a whole book

    def offsets(self, number: int, characters: Sequence[int]) -> Sequence[int]:
        text = self._record(number).decode(errors="surrogateescape")
        bounds = zip([0, *characters[:-1]], characters, strict=True)
        return list(accumulate(len(text[a:b].encode(errors="surrogateescape")) for a, b in bounds))


class CsvField(Documents):
    """One field of every CSV record is a document; a quoted one may hold line breaks.

    Args:
        index: Where the records start.
        invalid_bytes: See :class:`Documents`.
        column: Number of the field, from 0.
        first: Number of the first record that is data; 1 where the first one names the columns.
        delimiter: Separates fields.
        quote: Stands around fields that hold delimiters, quotes (doubled) or line breaks; ``""`` for none.
    """

    def __init__(self, index: RecordIndex, invalid_bytes: str, column: int, first: int, delimiter: str, quote: str) -> None:
        self.column, self.first = column, first
        self.dialect = {"delimiter": delimiter, "quotechar": quote, "strict": True}
        super().__init__(index, invalid_bytes)

    def __len__(self) -> int:
        return max(self._num - self.first, 0)

    def record_sizes(self) -> np.ndarray:
        return super().record_sizes()[self.first :]

    def settings(self) -> list[Any]:
        return [*super().settings(), self.column, self.first, self.dialect["delimiter"], self.dialect["quotechar"]]

    def text(self, number: int) -> str:
        fields = self.fields(number + self.first)
        if self.column >= len(fields):
            raise self.refusal(number + self.first, f"the record has {len(fields)} fields, column {self.column} is asked for.")
        return fields[self.column]

    def fields(self, record: int) -> list[str]:
        """All fields of a record, that of the names included in the count."""
        try:
            return csv_fields(decoded(self._record(record)), self.dialect)
        except csv.Error as error:
            raise self.refusal(record, f"{error}.") from error

    def _record(self, number: int) -> bytes:
        record = self._bytes[self._starts[number] : self._starts[number + 1]]
        # Whatever follows the last character that is no space is a line end or a blank line, but for spaces of the last field.
        stop = record.find(b"\n", len(record.rstrip()))
        return record if stop < 0 else _without_return(record[:stop])


class JsonField(Documents):
    """One field of the object on every line is a document.

    Args:
        index: Where the records start.
        invalid_bytes: See :class:`Documents`.
        key: Name of the field.
    """

    def __init__(self, index: RecordIndex, invalid_bytes: str, key: str) -> None:
        self.key = key
        super().__init__(index, invalid_bytes)

    @property
    def is_ascii(self) -> bool:
        return False  # ASCII may spell other characters: \\u00e9

    def settings(self) -> list[Any]:
        return [*super().settings(), self.key]

    def text(self, number: int) -> str:
        try:
            value = json.loads(decoded(self._record(number)))
        except ValueError as error:
            raise self.refusal(number, f"no JSON: {error}.") from error
        if not isinstance(value, dict) or not isinstance(value.get(self.key), str):
            found = _described(value, self.key)
            raise self.refusal(number, f"an object with a string {self.key!r} is needed, got {found}. Set `field`.")
        return value[self.key]


def _described(value: Any, key: str) -> str:
    if not isinstance(value, dict):
        return type(value).__name__
    return f"{key}={value[key]!r}" if key in value else f"one with {', '.join(value) or 'nothing'}"


def csv_fields(record: str, dialect: dict[str, Any]) -> list[str]:
    """The fields of one record, of any size.

    Raises:
        csv.Error: The record is malformed.
    """
    if not dialect["quotechar"] or dialect["quotechar"] not in record:
        return record.split(dialect["delimiter"])  # a third of the time
    if "\r" in record:  # data here, where lines have been told apart, but the csv module takes it for a line end
        unused = next(character for character in map(chr, range(0xE000, 0xF900)) if character not in record)
        return [field.replace(unused, "\r") for field in csv_fields(record.replace("\r", unused), dialect)]
    limit = csv.field_size_limit()
    if len(record) > limit:
        csv.field_size_limit(len(record))  # there is no other way than the module's own setting
    try:
        return next(csv.reader([record], **dialect))
    finally:
        csv.field_size_limit(limit)


def decoded(data: bytes) -> str:
    """Text of bytes; every byte that is no UTF-8 becomes U+FFFD, so that cuts between characters are cuts between bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _ESCAPED.sub("\ufffd", data.decode(errors="surrogateescape"))


def _without_return(record: bytes) -> bytes:
    return record[:-1] if record.endswith(b"\r") else record
