"""From a file's path to its documents: which kind of file, which field."""

from dataclasses import dataclass
from pathlib import Path

from mmkit.datasets.text.documents import CsvField, Documents, JsonField, Lines
from mmkit.datasets.text.index import RecordIndex, open_or_build
from mmkit.datasets.text.records import Rules
from mmkit.errors import RefusedError, UsageError


INVALID_BYTES = ("error", "replace")


@dataclass(frozen=True)
class Format:
    """How the documents of a file are told apart; arguments as those of :class:`~mmkit.datasets.text.dataset.TextMMap`."""

    data_impl: str = "text_mmap"
    field: str | int | None = None
    header: bool = True
    delimiter: str = ","
    quote: str = '"'
    invalid_bytes: str = "error"

    def __post_init__(self) -> None:
        _check("data_impl", self.data_impl, tuple(_OPENERS))
        _check("invalid_bytes", self.invalid_bytes, INVALID_BYTES)
        if self.data_impl == "text_mmap" and self.field is not None:
            raise UsageError(f"field={self.field!r} has no meaning for text_mmap, whose documents are lines. Leave it out.")
        if self.data_impl == "jsonl_mmap" and isinstance(self.field, int):
            raise UsageError(f"field={self.field!r}: fields of JSON lines have names.")
        if self.data_impl == "csv_mmap":
            self._check_csv()

    def _check_csv(self) -> None:
        for name, value, lengths in (("delimiter", self.delimiter, (1,)), ("quote", self.quote, (0, 1))):
            if len(value) not in lengths or not value.isascii() or value in ("\n", "\r"):
                raise UsageError(f"{name}={value!r} must be one ASCII character{' or none' if 0 in lengths else ''}.")
        if self.delimiter == self.quote:
            raise UsageError(f"delimiter and quote are both {self.quote!r}.")
        if isinstance(self.field, str) and not self.header:
            raise UsageError(
                f"field={self.field!r} needs a header that names the columns; without one, give the column's number."
            )
        if isinstance(self.field, int) and self.field < 0:
            raise UsageError(f"field={self.field}: columns are counted from 0.")

    @property
    def rules(self) -> Rules:
        """What is a record."""
        return Rules(self.quote, self.delimiter if self.quote else "") if self.data_impl == "csv_mmap" else Rules()


def open_documents(source: Path, form: Format, index_mapping_dir: Path | None) -> Documents:
    """The documents of a file, indexed if need be.

    Raises:
        RefusedError: See :func:`~mmkit.datasets.text.index.open_or_build`; or there is no such column.
    """
    return _OPENERS[form.data_impl](open_or_build(source, form.rules, index_mapping_dir), form)


def _open_lines(index: RecordIndex, form: Format) -> Documents:
    return Lines(index, form.invalid_bytes)


def _open_csv(index: RecordIndex, form: Format) -> Documents:
    settings = (form.delimiter, form.quote)
    column = form.field if isinstance(form.field, int) else 0
    documents = CsvField(index, form.invalid_bytes, column, int(form.header), *settings)
    if not form.header or not len(index):
        return documents
    names = documents.fields(0)
    wanted = "text" if form.field is None else form.field
    if isinstance(wanted, str) and wanted not in names:
        raise RefusedError(f"{index.source} has no column {wanted!r}. It has: {', '.join(names)}. Set `field`.")
    if isinstance(wanted, int) and wanted >= len(names):
        raise RefusedError(f"{index.source} has no column {wanted}: there are {len(names)}, from 0: {', '.join(names)}.")
    documents.column = names.index(wanted) if isinstance(wanted, str) else wanted
    return documents


def _open_jsonl(index: RecordIndex, form: Format) -> Documents:
    return JsonField(index, form.invalid_bytes, "text" if form.field is None else str(form.field))


_OPENERS = {"text_mmap": _open_lines, "csv_mmap": _open_csv, "jsonl_mmap": _open_jsonl}


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"Unknown {name} {value!r}. Allowed: {', '.join(allowed)}.")
