"""What reads tensors by name: the part that hidden transformations and hidden losses have in common."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmkit.hiddens.errors import ArgumentsError


MASK = "_mask"


@dataclass(frozen=True)
class Source:
    """Where a tensor comes from.

    Attributes:
        name: Full name of a tensor of the pipeline, e.g. ``"q.z"``.
        all_real: Not that tensor, but a mask that keeps all of its positions.
    """

    name: str
    all_real: bool = False

    def of(self, named: Mapping[str, Tensor]) -> Tensor:
        """The tensor, among those of the pipeline by full name."""
        tensor = named[self.name]
        return tensor.new_ones(tensor.shape[:2], dtype=torch.bool) if self.all_real else tensor


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
        sources: Where each input comes from, set by the pipeline.
    """

    input_names: tuple[str, ...] = ()
    input_hints: Mapping[str, str] = {}

    def __init__(self, inputs: Mapping[str, str] | None = None) -> None:
        super().__init__()
        if inputs is not None and not isinstance(inputs, Mapping):
            raise ArgumentsError(f"inputs={inputs!r}: inputs is a dict, own input name -> name in the pipeline.")
        self.inputs: dict[str, str] = dict(inputs or {})
        self.sources: dict[str, Source] = {}

    def gather(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs among all named tensors of a pipeline; outside of one, a mask that is not there keeps all positions.

        Args:
            named: Tensors as ``HiddensPipeline.apply_hidden_transforms`` returns them.

        Returns:
            Tensors by ``input_names``.
        """
        return {own: self.sources.get(own, self._unbound(own, named)).of(named) for own in self.input_names}

    def _unbound(self, own: str, named: Mapping[str, Tensor]) -> Source:
        name, masked = self.inputs.get(own, own), own.removesuffix(MASK)
        if own != masked and name not in named:
            return Source(self.inputs.get(masked, masked), all_real=True)
        return Source(name)

    def _renamed(self) -> str:
        return "".join(f", {own}={name}" for own, name in self.inputs.items())
