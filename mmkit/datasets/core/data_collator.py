"""Examples to batches: one entry per key, over the examples that have it, with their ids."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from mmkit.constants import DATASET_INDEX_KEY, EXAMPLE_IDS_KEY, EXAMPLE_INDEX_KEY
from mmkit.datasets.core.example import Example
from mmkit.datasets.core.modalities import Modalities, suggestion


_ID_KEYS = (DATASET_INDEX_KEY, EXAMPLE_INDEX_KEY, EXAMPLE_IDS_KEY)


class DefaultDataCollator:
    """Collate examples, then run a processor over each key that has one.

    Args:
        batch_processors: Key -> callable on the collated value of that key, e.g. a tokenizer for ``"text"`` (a list of
            strings) or an augmentation for ``"rgb"`` (a tensor). A processor that returns a mapping adds keys to the
            batch; they get the example ids of the key that they came from.

    Raises:
        ValueError: When called: the examples do not fit together (see :func:`collate_example_list`), a processor's key
            is neither in the batch nor the key of a modality, or a processor replaces another key.
    """

    def __init__(self, batch_processors: dict[str, Callable[..., Any]] | None = None) -> None:
        self.batch_processors = dict(batch_processors or {})

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        """Collate ``examples`` (B of them) into a batch; see :func:`collate_example_list` for its entries."""
        batch = collate_example_list(examples)
        for key, process in self.batch_processors.items():
            if key in batch:
                _process(batch, key, process)
            elif key not in Modalities.keys_of_all():
                raise ValueError(
                    f"There is a batch processor for {key!r}, but no such key. This batch has: {', '.join(_data_keys(batch))}."
                    f"{suggestion(key, _data_keys(batch))} If only some batches have it, register it as a modality."
                )
        return batch


# Shapes: B examples, M of them with a certain key.
def collate_example_list(examples: Sequence[Example]) -> dict[str, Any]:
    """Collate examples of which each may have other keys.

    Args:
        examples: B examples, each with ``dataset_index`` and ``example_index``. A missing modality is a missing key.
            The same pair of indices may occur twice: several renderings of one thing share their ids on purpose.

    Returns:
        A dictionary with, for each key that an example has, the values of the M <= B examples that have it: tensors,
        arrays and numbers as one tensor (M, ...), mappings as a dictionary of such entries, everything else, such as
        strings, as a list. Also ``example_ids``, a dictionary with a ``LongTensor`` (M, 2) of ``[dataset_index,
        example_index]`` per key, and ``dataset_index`` and ``example_index``, each a ``LongTensor`` (B,).

    Raises:
        ValueError: There are no examples, an index is missing or no integer, a value is None, or the values of a key
            differ in type, dtype or shape.
    """
    if not examples:
        raise ValueError("Cannot collate an empty list of examples.")
    ids_B2 = torch.tensor([_ids(example) for example in examples], dtype=torch.long)
    batch: dict[str, Any] = {}
    example_ids: dict[str, Tensor] = {}
    for key in dict.fromkeys(chain.from_iterable(examples)):
        if key in _ID_KEYS:
            continue
        rows = [row for row, example in enumerate(examples) if key in example]
        owners = examples if len(rows) == len(examples) else [examples[row] for row in rows]
        batch[key] = _collate(key, [example[key] for example in owners], owners)
        example_ids[key] = ids_B2 if owners is examples else ids_B2[rows]
    dataset_index_B, example_index_B = ids_B2.T.contiguous()
    return batch | {EXAMPLE_IDS_KEY: example_ids, DATASET_INDEX_KEY: dataset_index_B, EXAMPLE_INDEX_KEY: example_index_B}


def _ids(example: Mapping[str, Any]) -> tuple[int, int]:
    ids = example.get(DATASET_INDEX_KEY), example.get(EXAMPLE_INDEX_KEY)
    for key, value in zip((DATASET_INDEX_KEY, EXAMPLE_INDEX_KEY), ids, strict=True):
        if type(value) is not int and not isinstance(value, numbers.Integral):  # the first is much faster
            raise ValueError(
                f"Every example needs an integer `{key}`, got {_describe(value) if key in example else 'none'} in "
                f"{_where(example)}. The data set sets `example_index`; wrap it in `CombinedDataset` for `dataset_index`."
            )
    return ids  # pyright: ignore[reportReturnType]


def _collate(key: str, values: list[Any], owners: Sequence[Example]) -> Any:
    types, first = set(map(type, values)), values[0]
    if isinstance(first, Tensor | np.ndarray):
        if len(types) > 1 or len({value.dtype for value in values}) > 1:  # stacking would promote
            raise _mismatch(key, values, owners)
        try:
            return default_collate(values)  # stacks straight into shared memory in a worker
        except (RuntimeError, TypeError) as error:
            if len({value.shape for value in values}) == 1:  # not the values' fault, e.g. no shared memory left
                raise
            raise _mismatch(key, values, owners) from error
    if all(issubclass(kind, numbers.Number) for kind in types):
        return torch.tensor(values)
    if len(types) > 1 or first is None:
        raise _mismatch(key, values, owners)
    if isinstance(first, Mapping):
        if any(value.keys() != first.keys() for value in values):
            raise _mismatch(key, values, owners)
        return {k: _collate(f"{key}.{k}", [value[k] for value in values], owners) for k in first}
    return values


def _mismatch(key: str, values: list[Any], owners: Sequence[Example]) -> ValueError:
    """Name the first value that is None or unlike the first one."""
    found = [_describe(value) for value in values]
    if "None" in found:
        where = _where(owners[found.index("None")])
        return ValueError(f"{key!r} is None in {where}. Leave the key out of an example that lacks it.")
    odd = next((i for i, description in enumerate(found) if description != found[0]), 0)
    return ValueError(
        f"The values of {key!r} do not form one batch: {found[0]} in {_where(owners[0])}, "
        f"but {found[odd]} in {_where(owners[odd])}. Bring them to one shape and dtype in the data set."
    )


def _describe(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"shape {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return f"a mapping with keys {', '.join(map(str, value)) or 'none'}"
    return "None" if value is None else type(value).__name__


def _where(example: Mapping[str, Any]) -> str:
    return f"data set {example.get(DATASET_INDEX_KEY)}, example {example.get(EXAMPLE_INDEX_KEY)}"


def _data_keys(batch: Mapping[str, Any]) -> list[str]:
    return [key for key in batch if key not in _ID_KEYS]


def _process(batch: dict[str, Any], key: str, process: Callable[..., Any]) -> None:
    try:
        result = process(batch[key])
    except Exception as error:
        error.add_note(f"Raised by the batch processor of {key!r}.")
        raise
    new = dict(result) if isinstance(result, Mapping) else {key: result}
    taken = [k for k in new if k != key and k in batch]
    if taken:
        raise ValueError(f"The batch processor of {key!r} returned {taken[0]!r}, which is in the batch already. Rename one.")
    batch.update(new)
    batch[EXAMPLE_IDS_KEY].update(dict.fromkeys(new, batch[EXAMPLE_IDS_KEY][key]))
