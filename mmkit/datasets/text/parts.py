"""A contiguous part of a file's documents as examples: whole, continued in further examples, or truncated."""

from typing import Protocol

from mmkit.datasets.text.documents import Documents
from mmkit.datasets.text.pieces import Cuts


class Part(Protocol):
    """Some of a file's documents as examples, counted from 0."""

    documents: Documents

    def __len__(self) -> int: ...

    def text(self, number: int) -> str:
        """The text of an example."""
        ...


class WholeDocuments:
    """The documents ``start`` to ``end`` − 1 of a file, each an example."""

    def __init__(self, documents: Documents, start: int, end: int) -> None:
        self.documents, self.start, self.end = documents, start, end

    def __len__(self) -> int:
        return self.end - self.start

    def text(self, number: int) -> str:
        return self.documents.text(self.start + number)


class TruncatedDocuments(WholeDocuments):
    """Each an example up to where it is cut, if at all."""

    def __init__(self, documents: Documents, start: int, end: int, cuts: Cuts) -> None:
        super().__init__(documents, start, end)
        self.cuts = cuts

    def text(self, number: int) -> str:
        end = self.cuts.first_cut_of(self.start + number)
        return super().text(number) if end is None else self.documents.piece(self.start + number, 0, end)


class ContinuedDocuments:
    """The documents ``start`` to ``end`` − 1 of a file, each piece of them an example."""

    def __init__(self, documents: Documents, start: int, end: int, cuts: Cuts) -> None:
        self.documents, self.cuts = documents, cuts
        self.first, self.end = cuts.num_pieces_before(start), cuts.num_pieces_before(end)

    def __len__(self) -> int:
        return self.end - self.first

    def text(self, number: int) -> str:
        document, begin, end = self.cuts.piece(self.first + number)
        if begin == 0 and end is None:
            return self.documents.text(document)
        return self.documents.piece(document, begin, end)


#: What becomes of documents with too many tokens.
LONG_LINES = {"continue": ContinuedDocuments, "truncate": TruncatedDocuments}
