"""The base of hidden transformations."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.hiddens.reader import NamedInputs


class BaseHiddenTransform(NamedInputs):
    """Makes named tensors out of the encoder's output, or out of what other transformations made of it.

    A subclass names what it reads and what it makes, and takes and passes on ``inputs``::

        @external_store(group="hiddens/transform", name="scaled")
        class Scaled(BaseHiddenTransform):
            output_names = ("z",)

            def __init__(self, factor: float, inputs: dict[str, str] | None = None) -> None:
                super().__init__(inputs)
                self.factor = factor

            def forward(self, inputs, batch_data=None):
                return {"z": self.factor * inputs["hiddens"]}

    An instance called ``q`` in the configuration makes ``q.z``, which is also called ``z`` as long as no other one makes a ``z``.

    Args:
        inputs: Own input name -> name in the pipeline, e.g. ``{"hiddens": "q1.z"}``.

    Attributes:
        input_names: What ``forward`` reads; of the class, or set in the constructor.
        output_names: What ``forward`` returns, without the instance's name; of the class, or set in the constructor.
        positions_from: The input whose positions, and so whose mask, the outputs have. None if they have positions of their
            own: all of these are real, unless there is an output ``<output>_mask``.
        num_positions: How many positions of their own; None if that depends on the input.
        latent_size: Size of the latent variable, if the first output is one with the prior N(0, I); for sampling.
    """

    input_names: tuple[str, ...] = ("hiddens",)
    output_names: tuple[str, ...] = ()
    positions_from: str | None = "hiddens"
    num_positions: int | None = None
    latent_size: int | None = None

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Make the outputs.

        Args:
            inputs: Tensors by ``input_names``; hidden states are (B, S, H), masks (B, S).
            batch_data: What the model knows besides: the tensors of the batch by key, and functions of the model.

        Returns:
            Tensors by ``output_names``.
        """

    def extra_repr(self) -> str:
        return f"{', '.join(self.input_names)} -> {', '.join(self.output_names)}{self._renamed()}"
