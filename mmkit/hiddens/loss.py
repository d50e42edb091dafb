"""The base of hidden losses."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkit.hiddens.reader import NamedInputs
from mmkit.hiddens.schedules import Constant, make_schedule


class BaseHiddenLoss(NamedInputs):
    """A loss on named outputs of hidden transformations.

    Losses are summed over latent dimensions, averaged over real positions, then averaged over the batch, so that a batch twice as
    large or padded further has the same loss.

    Args:
        loss_weight: Its weight in the joint loss: a number, or a schedule such as
            ``{schedule: linear_warmup, value: 1.0, warmup_steps: 1000}`` (:mod:`mmkit.hiddens.schedules`).
        inputs: Own input name -> name in the pipeline, e.g. ``{"z": "q1.z"}``.

    Attributes:
        input_names: What ``forward`` reads; of the class, or set in the constructor.
        term_names: What ``forward`` returns: ``"loss"``, which is weighted and minimised, and what else is logged.
        includes_tokens: Whether ``loss`` contains the reconstruction of the tokens already, as IWAE's does.
    """

    term_names: tuple[str, ...] = ("loss",)
    includes_tokens: bool = False
    scheduled_weight: Tensor | None

    def __init__(self, loss_weight: float | Mapping[str, Any] = 1.0, inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(inputs)
        self.schedule = make_schedule(loss_weight)
        # A tensor, so that a compiled step is not compiled again for every weight. Nothing to save: it is a function of the step.
        weight = None if isinstance(self.schedule, Constant) else torch.tensor(self.schedule(0))
        self.register_buffer("scheduled_weight", weight, persistent=False)

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            inputs: Tensors by ``input_names``; latent variables are (B, S, Z), masks (B, S).
            batch_data: What the model knows besides: the tensors of the batch by key, and functions of the model.

        Returns:
            Scalars by ``term_names``.
        """

    def set_step(self, step: int) -> None:
        """Let the weight be that of an optimizer step."""
        if self.scheduled_weight is not None:
            self.scheduled_weight.fill_(self.schedule(step))

    def weight(self) -> float | Tensor:
        """The weight at the step that was set last."""
        return self.schedule(0) if self.scheduled_weight is None else self.scheduled_weight.clone()

    def extra_repr(self) -> str:
        return f"{', '.join(self.input_names)} -> {', '.join(self.term_names)}, loss_weight={self.schedule}{self._renamed()}"
