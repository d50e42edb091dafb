"""What reads tensors by name: the part that hidden transformations and hidden losses have in common."""

from abc import ABC
from collections.abc import Mapping

from torch import nn


class NamedInputs(nn.Module, ABC):
    """Reads tensors by names of its own, which a configuration can point at other names of the pipeline.

    An input ``<x>_mask`` need not be pointed anywhere: it is the mask of whatever ``<x>`` is, (B, S) with 1 or True for the real
    positions.

    Args:
        inputs: Own input name -> name in the pipeline, e.g. ``{"hiddens": "q1.z"}``; all others are read under their own names.

    Attributes:
        input_names: The names that ``forward`` reads, of the class or set in its constructor.
        input_hints: Own input name -> what to do if nothing makes it, for the message that says so.
        inputs: As given.
    """

    input_names: tuple[str, ...] = ()
    input_hints: Mapping[str, str] = {}

    def __init__(self, inputs: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.inputs: dict[str, str] = dict(inputs or {})

    def _renamed(self) -> str:
        return "".join(f", {own}={name}" for own, name in self.inputs.items())
