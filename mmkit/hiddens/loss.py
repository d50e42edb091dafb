"""The base of hidden losses."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from mmkit.hiddens.reader import MASK, NamedInputs
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
        needs_fixed_positions: Whether ``enc_output`` must have as many positions for every example, as s_mim's must.
    """

    term_names: tuple[str, ...] = ("loss",)
    includes_tokens: bool = False
    needs_fixed_positions: bool = False
    scheduled_weight: Tensor | None

    def __init__(self, loss_weight: float | Mapping[str, Any] = 1.0, inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(inputs)
        self.schedule = make_schedule(loss_weight)
        # A tensor, so that a compiled step is not compiled again for every weight. Nothing to save: it is a function of the step.
        weight = None if isinstance(self.schedule, Constant) else torch.tensor(self.schedule(0))
        self.register_buffer("scheduled_weight", weight, persistent=False)
        self._weight_step = 0

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            inputs: Tensors by ``input_names``; latent variables are (B, S, Z), masks (B, S).
            batch_data: What the model knows besides: the tensors of the batch by key, and functions of the model.

        Returns:
            Scalars by ``term_names``.
        """

    def num_examples(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> Tensor | None:
        """How many examples of a batch the terms are means over: what evaluation weights them by, to log means over the epoch.

        Args:
            inputs: As those of ``forward``.
            batch_data: As that of ``forward``.

        Returns:
            A scalar: by default those that have a real position in any mask that is read. None: all of the batch.
        """
        masks = [mask_BS.bool().any(1) for name, mask_BS in inputs.items() if name.endswith(MASK)]
        return torch.stack(masks).any(0).sum() if masks else None

    def set_step(self, step: int) -> None:
        """Let the weight be that of an optimizer step."""
        self._weight_step = step
        if self.scheduled_weight is not None:
            self.scheduled_weight.fill_(self.schedule(step))

    def weight(self) -> float | Tensor:
        """The weight at the step that was set last."""
        return self.schedule(0) if self.scheduled_weight is None else self.scheduled_weight.clone()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast, as ``to`` and ``bfloat16`` do; a weight stays in fp32 at least, and is not rounded."""
        super()._apply(fn, recurse)
        if (cast := self.scheduled_weight) is not None:
            dtype = torch.promote_types(cast.dtype, torch.float32)
            self.scheduled_weight = torch.full_like(cast, self.schedule(self._weight_step), dtype=dtype)
        return self

    def extra_repr(self) -> str:
        return f"{', '.join(self.input_names)} -> {', '.join(self.term_names)}, loss_weight={self.schedule}{self._renamed()}"
