"""A data set whose modalities have gone through frozen encoders once and are read back from a cache."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmkit.conf.store import external_store
from mmkit.constants import DATASET_INDEX_KEY, EXAMPLE_INDEX_KEY
from mmkit.datasets.cache import cache_root, locked, sha256_of, written_at_once
from mmkit.datasets.core import DefaultDataCollator, Example


# Shapes: N examples, U distinct values among them, B values encoded at once, D feature dim.


@external_store(group="datasets")
class EncodedDataset(Dataset[Example]):
    """Replace modalities of a data set by the features that frozen encoders make of them.

    Each distinct value is encoded once. Features are cached under a digest of what the encoder reads and of its weights and
    layers, so that the next run reads them from a memory map and a change of any of these makes new ones. The data set
    must return the same values for an index every time. Whatever else the data set offers is offered here, too.

    Args:
        dataset: A map-style data set of examples.
        encoders: Encoder by modality; takes ``{modality: batch, …}`` and returns a sequence whose first item is (B, D).
        batch_processors: As for the collator, e.g. the tokenizer of ``text``; applied before the encoders.
        batch_size: Values encoded at once.
        cache_dir: Folder of the cache; default: ``encoded`` in mmkit's data folder.

    Raises:
        ValueError: If an encoder's modality occurs in no example, or its output is not (B, D).
        TypeError: If a value is neither string, tensor nor array.
    """

    def __init__(
        self,
        dataset: Dataset[Example],
        encoders: dict[str, nn.Module],
        batch_processors: dict[str, Callable[..., Any]] | None = None,
        batch_size: int = 64,
        cache_dir: str | None = None,
    ) -> None:
        self.dataset = dataset
        root = Path(cache_dir).expanduser() if cache_dir is not None else cache_root() / "encoded"
        processors = batch_processors or {}
        self._rows: dict[str, np.ndarray] = {}
        self._features: dict[str, np.memmap] = {}
        for modality, distinct in find_distinct_values(dataset, list(encoders)).items():
            collator = DefaultDataCollator({modality: processors[modality]} if modality in processors else None)
            batches = _Batches(dataset, modality, distinct.owners_U, collator, batch_size)
            self._rows[modality] = distinct.rows_N
            self._features[modality] = _load_or_encode(root, batches, encoders[modality])

    @staticmethod
    def example_spec(
        dataset: Example,
        encoders: dict[str, nn.Module],
        batch_processors: dict[str, Callable[..., Any]] | None = None,
        batch_size: int = 64,
        cache_dir: str | None = None,
    ) -> Example:
        """An example without data, for ``mmkit plan``: the features have the shape that the encoders give them.

        Args:
            dataset: An example of the data set.
            encoders: As for the constructor; their parameters need no values.
            batch_processors: As for the constructor.
            batch_size: Of no concern here.
            cache_dir: Of no concern here.
        """
        example, processors = Example(dataset), batch_processors or {}
        for modality, encoder in encoders.items():
            if modality not in dataset:
                have = ", ".join(dataset)
                raise ValueError(f"There is an encoder for {modality!r}, but the data set does not give it (it gives: {have}).")
            collator = DefaultDataCollator({modality: processors[modality]} if modality in processors else None)
            alone = {DATASET_INDEX_KEY: 0, EXAMPLE_INDEX_KEY: 0, modality: dataset[modality]}
            example[modality] = encoder(collator([Example(alone), Example(alone)]))[0][0]
        return example

    def __getstate__(self) -> dict[str, Any]:
        paths = {modality: str(features.filename) for modality, features in self._features.items()}
        return {**self.__dict__, "_features": paths}  # a pickled memory map would be a copy for every worker

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._features = {modality: np.load(path, mmap_mode="r") for modality, path in state["_features"].items()}

    def __len__(self) -> int:
        return len(self.dataset)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, index: int) -> Example:
        example = Example(self.dataset[index])
        for modality, rows_N in self._rows.items():
            if modality in example:
                example[modality] = torch.from_numpy(self._features[modality][rows_N[index]].copy())
        return example

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "dataset":  # not yet there while unpickling
            raise AttributeError(name)
        return getattr(self.dataset, name)


@dataclass
class DistinctValues:
    """Which examples share a value of a modality.

    Attributes:
        rows_N: Number of each example's value, −1 for examples that lack the modality.
        owners_U: Index of the first example with each value.
    """

    rows_N: np.ndarray
    owners_U: list[int]


def find_distinct_values(dataset: Any, modalities: list[str]) -> dict[str, DistinctValues]:
    """Number the distinct values of each modality in one pass; values are compared by a 128-bit digest, not kept."""
    rows = {modality: np.full(len(dataset), -1, dtype=np.int64) for modality in modalities}
    owners: dict[str, dict[bytes, int]] = {modality: {} for modality in modalities}
    numbers: dict[str, dict[bytes, int]] = {modality: {} for modality in modalities}
    for index in range(len(dataset)):
        example = dataset[index]
        for modality in modalities:
            if modality in example:
                key = _digest_of_value(example[modality], modality)
                owners[modality].setdefault(key, index)
                rows[modality][index] = numbers[modality].setdefault(key, len(numbers[modality]))
    for modality in modalities:
        if not owners[modality]:
            raise ValueError(f"There is an encoder for {modality!r}, but no example of {type(dataset).__name__} has it.")
    return {modality: DistinctValues(rows[modality], list(owners[modality].values())) for modality in modalities}


def _digest_of_value(value: Any, modality: str) -> bytes:
    if isinstance(value, str):
        return hashlib.blake2b(value.encode(), digest_size=16).digest()
    if isinstance(value, Tensor | np.ndarray):
        array = np.ascontiguousarray(value)
        digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
        digest.update(array.reshape(-1).view(np.uint8).data)
        return digest.digest()
    raise TypeError(f"EncodedDataset takes strings, tensors and arrays, but {modality!r} is a {type(value).__name__}.")


class _Batches:
    """The distinct values of a modality as the encoder reads them, in batches; can be iterated again."""

    def __init__(self, dataset: Any, modality: str, owners_U: list[int], collator: DefaultDataCollator, batch_size: int) -> None:
        self.dataset = dataset
        self.modality = modality
        self.owners_U = owners_U
        self.collator = collator
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.owners_U) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self.owners_U), self.batch_size):
            yield self.collator([self._value_alone(index) for index in self.owners_U[start : start + self.batch_size]])

    def _value_alone(self, index: int) -> Example:
        return Example({DATASET_INDEX_KEY: 0, EXAMPLE_INDEX_KEY: index, self.modality: self.dataset[index][self.modality]})

    def digest(self) -> str:
        """Digest of everything that the encoder reads: processors may change without a change of their settings."""
        digest = hashlib.sha256()
        for batch in self:
            for name, value in batch.items():
                if isinstance(value, Tensor) and name not in (DATASET_INDEX_KEY, EXAMPLE_INDEX_KEY):
                    _update(digest, name, value)
        return digest.hexdigest()


def _update(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _load_or_encode(root: Path, batches: _Batches, encoder: nn.Module) -> np.memmap:
    digest = hashlib.sha256(f"2 {batches.modality} {batches.digest()} {digest_of_encoder(encoder)}".encode())
    folder = root / digest.hexdigest()[:32]
    with locked(folder):
        if not _is_whole(folder):
            _write(folder, _encode(batches, encoder))
    return np.load(folder / "features.npy", mmap_mode="r")


def digest_of_encoder(encoder: nn.Module) -> str:
    """Digest of all that an encoder's output depends on: layers, their settings, parameters and buffers.

    Buffers outside the state dict, such as the constants of a normalisation, and settings that are not printed, such as the
    kind of pooling, change the output, too.
    """
    digest = hashlib.sha256(repr(encoder).encode())
    for name, module in encoder.named_modules():
        settings = {key: value for key, value in sorted(vars(module).items()) if isinstance(value, str | int | float | None)}
        settings.pop("training")  # encoders are put into evaluation mode
        digest.update(f"{name} {type(module).__module__}.{type(module).__qualname__} {settings}".encode())
    for name, tensor in chain(encoder.named_parameters(), encoder.named_buffers()):
        _update(digest, name, tensor)
    return digest.hexdigest()


@torch.no_grad()
def _encode(batches: _Batches, encoder: nn.Module) -> np.ndarray:
    was_training = encoder.training
    encoder.eval()
    console = Console(stderr=True)
    features = []
    for batch in track(batches, f"Encoding {len(batches.owners_U):,} × {batches.modality}", len(batches), console=console):
        x_BD = encoder(batch)[0]
        if x_BD.ndim != 2:
            shape = tuple(x_BD.shape)
            raise ValueError(f"The encoder of {batches.modality!r} returned {shape}; set its pooling, so that it is (B, D).")
        features.append(x_BD.float().cpu().numpy())
    encoder.train(was_training)
    return np.concatenate(features)


def _write(folder: Path, features_UD: np.ndarray) -> None:
    with written_at_once(folder) as partial:
        np.save(partial / "features.npy", features_UD)
        (partial / "manifest.json").write_text(json.dumps({"sha256": sha256_of(partial / "features.npy")}))


def _is_whole(folder: Path) -> bool:
    try:
        return json.loads((folder / "manifest.json").read_text())["sha256"] == sha256_of(folder / "features.npy")
    except (OSError, ValueError, KeyError):
        return False
