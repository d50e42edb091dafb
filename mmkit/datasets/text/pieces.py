"""Where documents with too many tokens are cut: a table that is made once and found again."""

import logging
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from mmkit.datasets.text.container import Container, DamagedError, read_container, reopened, write_container
from mmkit.datasets.text.documents import Documents
from mmkit.datasets.text.index import alone, clear_leftovers, index_places, writable_place
from mmkit.datasets.text.token_limit import TokenLimit


logger = logging.getLogger(__name__)

_SHOWN_FROM = 10_000  # suspects whose tokenization takes long enough for a progress bar
_INT64 = np.dtype("<i8")


# Shapes: D documents that are cut, C cuts.
class Cuts:
    """Where documents of a file are cut; pieces are numbered through the whole file.

    Args:
        container: With the numbers ``documents`` (D,) of those that are cut; ``cuts`` (C,), offsets as :meth:`Documents.piece`
            takes them; ``first_cut`` (D + 1,), where those of each document start; ``first_piece`` (D,), the number of its first
            piece.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        arrays = {name: memoryview(values) for name, values in container.arrays.items()}  # pyright: ignore[reportArgumentType]
        self._documents, self._cuts = arrays["documents"], arrays["cuts"]
        self._first_cut, self._first_piece = arrays["first_cut"], arrays["first_piece"]

    def __getstate__(self) -> tuple[Path, int]:
        return self.container.path, self.container.checksum

    def __setstate__(self, state: tuple[Path, int]) -> None:
        self.__init__(reopened(*state))

    def num_pieces_before(self, document: int) -> int:
        """Number of the first piece of a document."""
        return document + self._first_cut[bisect_left(self._documents, document)]

    def first_cut_of(self, document: int) -> int | None:
        """Where a document is cut first; None if it is not."""
        i = bisect_left(self._documents, document)
        return self._cuts[self._first_cut[i]] if i < len(self._documents) and self._documents[i] == document else None

    def piece(self, number: int) -> tuple[int, int, int | None]:
        """A piece's document, and the offsets between which it stands; ``None`` is the document's end."""
        i = bisect_right(self._first_piece, number) - 1
        if i < 0:
            return number, 0, None
        first, end = self._first_cut[i], self._first_cut[i + 1]
        cut = first + number - self._first_piece[i]  # the one at which the piece ends
        if cut > end:
            return number - end, 0, None
        return self._documents[i], self._cuts[cut - 1] if cut > first else 0, self._cuts[cut] if cut < end else None


def find_or_make_cuts(documents: Documents, limit: TokenLimit, whole: bool, index_mapping_dir: Path | None) -> Cuts:
    """Where a file's documents are cut so that every piece keeps to a limit.

    Args:
        documents: Of a file.
        limit: The most tokens of a piece.
        whole: Whether to cut all of a document, or only at the end of its first piece.
        index_mapping_dir: See :func:`~mmkit.datasets.text.index.open_or_build`.
    """
    source = documents.index.source
    settings = {"documents": documents.settings(), "limit": limit.max_tokens, "whole": whole, "tokenizer": limit.name}
    records = {"records": documents.index.container.checksum, "stamp": asdict(documents.index.stamp)}
    made_of = {**records, **settings, "tokenizer": limit.digest(documents)}
    places = index_places(source, index_mapping_dir, "cuts", settings)
    for place in places:
        if (found := _opened(place, made_of)) is not None:
            return found
    target = writable_place(places, source)
    with alone(target):
        return _opened(target, made_of) or _made(target, documents, limit, whole, made_of)


def _opened(path: Path, made_of: dict[str, Any]) -> Cuts | None:
    try:
        container = read_container(path)
    except FileNotFoundError:
        return None
    except (DamagedError, OSError) as error:
        logger.warning("%s It is made anew.", error)
        return None
    return Cuts(container) if container.meta == made_of else None


def _made(target: Path, documents: Documents, limit: TokenLimit, whole: bool, made_of: dict[str, Any]) -> Cuts:
    clear_leftovers(target)
    suspects = limit.suspects(documents)
    console, label = Console(stderr=True), f"Cutting long documents of {documents.index.source.name}"
    cut, first_cut, cuts = array("q"), array("q", [0]), array("q")
    shown = track(suspects, label, console=console, disable=len(suspects) < _SHOWN_FROM)
    for document, offsets in _cut_documents(shown, documents, limit, whole):
        cut.append(document)
        cuts.extend(offsets)
        first_cut.append(len(cuts))
    numbers_D, firsts_D = np.asarray(cut), np.asarray(first_cut)
    arrays = {"documents": numbers_D, "cuts": np.asarray(cuts), "first_cut": firsts_D, "first_piece": numbers_D + firsts_D[:-1]}
    write_container(target, {name: (_INT64, [values.astype(_INT64).tobytes()]) for name, values in arrays.items()}, made_of)
    return Cuts(read_container(target))


def _cut_documents(numbers: Any, documents: Documents, limit: TokenLimit, whole: bool) -> Iterator[tuple[int, Any]]:
    for number in numbers:
        if characters := limit.cuts(documents.text(int(number)), whole):
            yield int(number), documents.offsets(int(number), characters)
