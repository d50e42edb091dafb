"""Examples that are met twice: within a data set, and in two of them."""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from mmkit.cli.peeking.examples import flat, told_id
from mmkit.constants import DATASET_INDEX_KEY, EXAMPLE_IDS_KEY, EXAMPLE_INDEX_KEY


_IDS = (EXAMPLE_INDEX_KEY, DATASET_INDEX_KEY, EXAMPLE_IDS_KEY)


@dataclass
class Identities:
    """The ids and contents of the first examples of a data set.

    Attributes:
        name: Its name.
        num_checked: How many examples were looked at.
        num_examples: How many there are; None for a stream.
        ids: Their ids.
        contents: Digests of all that they hold besides ids.
        num_repeated_ids: Examples whose id an earlier one has: to each other they count as matching pairs.
        num_repeated: Examples that hold what an earlier one holds.
    """

    name: str
    num_checked: int = 0
    num_examples: int | None = None
    ids: set[Any] = field(default_factory=set)
    contents: set[bytes] = field(default_factory=set)
    num_repeated_ids: int = 0
    num_repeated: int = 0

    @property
    def num_ids(self) -> int:
        return len(self.ids)

    @property
    def told_size(self) -> str:
        """How many were looked at, and of how many."""
        if self.num_checked == self.num_examples:
            return f"{self.num_checked:,}"
        return f"first {self.num_checked:,}" + (f" of {self.num_examples:,}" if self.num_examples is not None else "")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = ("name", "num_checked", "num_examples", "num_ids", "num_repeated_ids", "num_repeated")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Overlap:
    """What two data sets of different splits have in common.

    Attributes:
        first: Name of one.
        second: Name of the other.
        num_ids: How many ids are in both. Data sets that number their examples from zero share ids, and nothing else.
        num_contents: How many different contents are in both.
    """

    first: str
    second: str
    num_ids: int
    num_contents: int


def identities(name: str, dataset: Any, limit: int) -> Identities:
    """Look at the first ``limit`` examples of a data set."""
    is_stream = isinstance(dataset, IterableDataset)
    found = Identities(name, num_examples=None if is_stream else len(dataset))
    for example in islice(_examples(dataset), limit):
        leaves = flat(example)
        identity, content = told_id(leaves.get(EXAMPLE_INDEX_KEY)), digest(leaves)
        found.num_checked += 1
        found.num_repeated_ids += identity in found.ids
        found.num_repeated += content in found.contents
        found.contents.add(content)
        if identity is not None:
            found.ids.add(identity)
    return found


def overlaps(found: Sequence[Identities]) -> list[Overlap]:
    """What each two data sets of different splits have in common."""
    pairs = [(a, b) for a, b in combinations(found, 2) if a.name.partition(".")[0] != b.name.partition(".")[0]]
    return [Overlap(a.name, b.name, len(a.ids & b.ids), len(a.contents & b.contents)) for a, b in pairs]


def digest(leaves: dict[str, Any]) -> bytes:
    """Of everything that an example holds besides its ids."""
    made = hashlib.blake2b(digest_size=16)
    for key in sorted(leaves):
        if key not in _IDS:
            made.update(f"\0{key}\0".encode())
            made.update(_bytes(leaves[key]))
    return made.digest()


def _bytes(value: Any) -> bytes:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        return f"{value.dtype} {tuple(value.shape)}".encode() + bytes(value.reshape(-1).view(torch.uint8).numpy().data)
    if isinstance(value, Image.Image):
        return f"{value.mode} {value.size}".encode() + value.tobytes()
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}".encode() + value.tobytes()
    return value.encode(errors="surrogatepass") if isinstance(value, str) else pickle.dumps(value)


def _examples(dataset: Any) -> Iterator[Any]:
    if isinstance(dataset, IterableDataset):
        yield from dataset
    else:
        yield from (dataset[number] for number in range(len(dataset)))
