"""The batch that a step is planned with: from examples, from the encoders, from the command line, or a real one."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.constants import DATASET_INDEX_KEY, EXAMPLE_IDS_KEY, EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.errors import UsageError
from mmkit.plan.building import Builder
from mmkit.plan.symbolic import SMALL_INTEGERS, Stepping


IDS = (EXAMPLE_IDS_KEY, DATASET_INDEX_KEY, EXAMPLE_INDEX_KEY)

#: Shape, without the batch, and type of entries of a batch.
Shapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


def parsed_shape(text: str) -> tuple[str, tuple[int, ...], torch.dtype]:
    """``rgb=3x224x224`` as (key, shape, dtype); one number is a number of tokens, ``:float32`` at the end names another type.

    Raises:
        UsageError: It is written in another way.
    """
    key, equals, rest = text.partition("=")
    sizes, _, dtype_name = rest.partition(":")
    try:
        shape = tuple(int(size) for size in sizes.split("x"))
        default = {1: "int64", 3: "uint8"}.get(len(shape), "float32")
        dtype = getattr(torch, dtype_name or default)
    except (ValueError, AttributeError):
        shape, dtype = (), None
    if not (key and equals and shape and min(shape) > 0 and isinstance(dtype, torch.dtype)):
        raise UsageError(
            f"--shape {text}: write rgb=3x224x224 (bytes), text=77 (tokens) or audio=1024:float32, without the batch."
        )
    return key, shape, dtype


def merged(examples: Mapping[str, Example | None], builder: Builder) -> Example:
    """The keys of all data sets of a split in one example; those of different shape are noted."""
    merged, owner = Example(), {}
    for name, example in examples.items():
        for key, value in (example or {}).items():
            before = merged.get(key)
            if isinstance(value, Tensor) and isinstance(before, Tensor) and value.shape != before.shape:
                shapes = [tuple(tensor.shape) for tensor in (before, value)]
                builder.findings.mismatch(
                    name, f"{key!r} of {name} is {shapes[1]}, which does not match the {shapes[0]} of {owner[key]} in one batch."
                )
            elif key not in merged:
                merged[key], owner[key] = value, name
    return merged


def collated(example: Example, batch_size: int, collate: Any, step: Stepping) -> dict[str, Any]:
    """A batch of ``batch_size`` examples like one; of their texts, every other is cut in half so that there is padding."""
    tensors = {key: _planned(value, step) if isinstance(value, Tensor) else value for key, value in example.items()}
    examples = []
    for index in range(batch_size):
        texts = {key: value[: len(value) // 2] for key, value in tensors.items() if isinstance(value, str) and index % 2}
        examples.append(Example({**tensors, **texts, EXAMPLE_INDEX_KEY: index, DATASET_INDEX_KEY: 0}))
    with step:
        return collate(examples)


def _planned(value: Tensor, step: Stepping) -> Tensor:
    """A tensor of an example; ids keep their values, so that an embedding with too few rows is noticed."""
    are_ids = value.dtype == torch.long and value.ndim == 1 and value.numel() <= SMALL_INTEGERS
    return value if are_ids and not value.is_meta and not step.is_abstract(value) else step.abstract(value)


def with_largest_ids(batch: dict[str, Any], processors: Mapping[str, Any]) -> None:
    """Let the ids of tokenizers reach their largest, to see whether the embedding has a row for it."""
    for processor in processors.values():
        size, key = getattr(processor, "vocab_size", None), getattr(processor, "modality", None)
        ids = batch.get(key) if isinstance(key, str) else None
        if isinstance(size, int) and isinstance(ids, Tensor) and not ids.is_floating_point() and ids.numel():
            ids.view(-1)[0] = size - 1


def given(batch: dict[str, Any], shapes: Shapes, size: int, step: Stepping) -> None:
    """Put tensors of given shapes into a batch; a single size makes token ids with their mask."""
    ids = torch.stack([torch.zeros(size, dtype=torch.long), torch.arange(size)], dim=1)
    for key, (shape, dtype) in shapes.items():
        whole = (size, *shape)
        is_tokens = len(shape) == 1 and not dtype.is_floating_point and math.prod(whole) <= SMALL_INTEGERS
        batch[key] = torch.zeros(whole, dtype=dtype) if is_tokens else step.empty(whole, dtype)
        batch.setdefault(EXAMPLE_IDS_KEY, {})[key] = ids
        if is_tokens and Modalities.has_modality(key):
            mask = torch.ones(whole, dtype=torch.long)
            mask[1::2, math.ceil(shape[0] / 2) :] = 0
            batch[Modalities.get_modality(key).attention_mask] = mask
    batch.setdefault(EXAMPLE_INDEX_KEY, ids[:, 1])
    batch.setdefault(DATASET_INDEX_KEY, ids[:, 0])


def from_encoders(encoders: Mapping[str, nn.Module], lacking: list[str]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shapes of what encoders with an ``input_spec()`` read, for the modalities that nothing else is known of."""
    shapes = {}
    for encoder in encoders.values():
        for key, tensor in getattr(encoder, "input_spec", dict)().items():
            if key in lacking:
                shapes[key] = tuple(tensor.shape), tensor.dtype
    return shapes


def without_values(batch: Mapping[str, Any], step: Stepping) -> dict[str, Any]:
    """A real batch as a step is planned with it: ids and tokens stay real, pictures and features lose their values."""
    kept: dict[str, Any] = {}
    for key, value in batch.items():
        small = (
            isinstance(value, Tensor) and not value.is_floating_point() and value.numel() <= SMALL_INTEGERS and value.ndim <= 2
        )
        kept[key] = step.abstract(value) if isinstance(value, Tensor) and not small else copy.copy(value)
    return kept
