"""Keys, types, shapes and values of some examples of a data set."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from mmkit.archive.format import printable
from mmkit.cli.peeking.pictures import as_picture
from mmkit.constants import EXAMPLE_INDEX_KEY


_RATE = "sample_rate"
_MAX_TEXT = 200


@dataclass(frozen=True)
class Column:
    """What the examples hold under one key.

    Attributes:
        key: The key; that of a value inside of another has a dot.
        kind: Type, e.g. ``"uint8 picture"``.
        shape: Sizes; ``?`` where they vary.
        values: Their range.
    """

    key: str
    kind: str
    shape: str
    values: str


@dataclass
class View:
    """Some examples of a data set.

    Attributes:
        name: Its configuration key.
        cls: Its class.
        num_examples: How many it has; None for a stream.
        columns: What the examples hold.
        text_keys: Keys of texts.
        texts: Number of the example, its id and its texts, for each example.
        pictures: By key, the number of the example and the picture.
    """

    name: str
    cls: str
    num_examples: int | None
    columns: list[Column] = field(default_factory=list)
    text_keys: list[str] = field(default_factory=list)
    texts: list[tuple[Any, ...]] = field(default_factory=list)
    pictures: dict[str, list[tuple[int, Image.Image]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the pictures."""
        return {
            **{name: getattr(self, name) for name in ("name", "cls", "num_examples", "text_keys", "texts")},
            "keys": [asdict(column) for column in self.columns],
        }


def look_at(name: str, dataset: Any, k: int) -> View:
    """Look at ``k`` examples, evenly spread over the data set; of a stream, at the first ``k``."""
    rows = some_examples(dataset, k)
    examples = [flat(example) for _, example in rows]
    cls = f"{type(dataset).__module__}.{type(dataset).__qualname__}"
    view = View(name, cls, None if isinstance(dataset, IterableDataset) else len(dataset))
    rate = getattr(dataset, _RATE, None)
    for key in dict.fromkeys(key for example in examples for key in example):
        values = [example[key] for example in examples if key in example]
        rates = [example.get(f"{key}_{_RATE}", example.get(_RATE, rate)) for example in examples if key in example]
        view.columns.append(describe(key, values, rates, missing=len(examples) - len(values)))
        drawn = [(number, as_picture(example.get(key))) for (number, _), example in zip(rows, examples, strict=True)]
        if pictures := [(number, picture) for number, picture in drawn if picture is not None]:
            view.pictures[key] = pictures
    view.text_keys = [column.key for column in view.columns if column.kind == "text"]
    for (number, _), example in zip(rows, examples, strict=True):
        told = [printable(str(example.get(key, "")))[:_MAX_TEXT].replace("\n", " ") for key in view.text_keys]
        if told:
            view.texts.append((number, told_id(example.get(EXAMPLE_INDEX_KEY)), *told))
    return view


def some_examples(dataset: Any, k: int) -> list[tuple[int, Mapping[str, Any]]]:
    """Numbers of examples and the examples."""
    if isinstance(dataset, IterableDataset):
        return list(enumerate(islice(dataset, k)))
    numbers = np.unique(np.linspace(0, len(dataset) - 1, min(k, len(dataset))).round().astype(int)) if len(dataset) else []
    return [(int(number), dataset[int(number)]) for number in numbers]


def flat(example: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by key; of mappings inside, by dotted key."""
    leaves: dict[str, Any] = {}
    for key, value in example.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def told_id(value: Any) -> Any:
    """An id as a number, where it is one."""
    return value.item() if isinstance(value, Tensor | np.generic) and value.ndim == 0 else value


def describe(key: str, values: list[Any], rates: list[Any], missing: int = 0) -> Column:
    """Describe the values of one key.

    Args:
        key: The key.
        values: Those of the examples that have it.
        rates: For each, the sample rate if it is a sound.
        missing: How many examples lack it.
    """
    first = values[0]
    lacking = f"; {missing} lack it" if missing else ""
    if isinstance(first, str):
        lengths = [len(value) for value in values]
        return Column(key, "text", "", f"{_range(lengths)} characters{lacking}")
    arrays = [_array(value) for value in values]
    if any(array is None for array in arrays):
        kinds = ", ".join(dict.fromkeys(type(value).__name__ for value in values))
        return Column(key, kinds, "", f"{printable(repr(first))[:60]}{lacking}")
    known: list[np.ndarray] = [array for array in arrays if array is not None]
    told = _sounds(known, rates) if _is_sound(known[0], rates[0]) else None
    suffix = " sound" if told else " picture" if as_picture(first) is not None else ""
    return Column(key, f"{_type(first)}{suffix}", _shapes(known), f"{told or _statistics(known)}{lacking}")


def _array(value: Any) -> np.ndarray | None:
    """Numbers as an array; None for what is none."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype in (torch.bfloat16, torch.float16) else value).numpy()
    if isinstance(value, Image.Image | np.ndarray | np.generic | bool | int | float):
        array = np.asarray(value)
        return array if array.dtype.kind in "biuf" else None
    return None


def _type(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.") if isinstance(value, Tensor | np.ndarray) else type(value).__name__


def _shapes(arrays: list[np.ndarray]) -> str:
    shapes = {array.shape for array in arrays}
    if len({len(shape) for shape in shapes}) > 1:
        return " or ".join(sorted({"×".join(map(str, shape)) or "one number" for shape in shapes}))
    return "×".join(str(sizes[0]) if len(set(sizes)) == 1 else "?" for sizes in zip(*shapes, strict=True))


def _statistics(arrays: list[np.ndarray]) -> str:
    numbers = np.concatenate([array.reshape(-1).astype(np.float64) for array in arrays])
    finite = numbers[np.isfinite(numbers)]
    odd = f", {len(numbers) - len(finite)} not finite" if len(finite) < len(numbers) else ""
    if not len(finite):
        return f"empty{odd}"
    if finite.min() == finite.max():
        return f"always {finite.min():.4g}{odd}"
    are_labels = all(array.ndim == 0 and array.dtype.kind in "biu" for array in arrays)  # their mean says nothing
    mean = "" if are_labels else f", mean {finite.mean():.4g}"
    return f"{finite.min():.4g} to {finite.max():.4g}{mean}{odd}"


def _is_sound(array: np.ndarray, rate: Any) -> bool:
    return rate is not None and array.dtype.kind == "f" and array.ndim in (1, 2) and array.size > 0


def _sounds(arrays: list[np.ndarray], rates: list[Any]) -> str:
    """Length, rate, peak and root mean square."""
    seconds = [array.shape[-1] / float(rate) for array, rate in zip(arrays, rates, strict=True)]
    peak = max(float(np.abs(array).max()) for array in arrays)
    rms = [float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))) for array in arrays]
    clipped = " (clipped)" if peak > 1 else ""
    hertz = "/".join(f"{float(rate):g}" for rate in dict.fromkeys(map(float, rates)))
    return f"{_range(seconds)} s at {hertz} Hz, peak {peak:.3g}{clipped}, RMS {_range(rms)}"


def _range(numbers: list[Any]) -> str:
    low, high = f"{min(numbers):.4g}", f"{max(numbers):.4g}"
    return low if low == high else f"{low} to {high}"
