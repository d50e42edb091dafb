"""Several transforms, tokenizers and mask generators as one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmkit.conf.store import external_store


@external_store(group="datasets/transforms")
class Compose:
    """Apply transforms in order: each takes what the one before it returned.

    Args:
        transforms: The transforms, as a list, or by name, which lets a defaults list fill them one by one.

    Example:
        >>> from mmkit.datasets.transforms import TrimText
        >>> Compose({"trim": TrimText(3), "upper": str.upper})("a cat")
        'A C'
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]]) -> None:
        self.transforms = list(transforms.values()) if isinstance(transforms, Mapping) else list(transforms)

    def __call__(self, value: Any) -> Any:
        for transform in self.transforms:
            value = transform(value)
        return value
