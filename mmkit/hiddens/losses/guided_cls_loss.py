"""The classification loss of an attribute head."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmkit.conf import external_store
from mmkit.constants import IGNORED_LABEL
from mmkit.hiddens.gaussian import widened
from mmkit.hiddens.loss import BaseHiddenLoss


# Shapes: B batch, C classes.
@external_store(group="hiddens/loss", name="guided_cls_loss")
class GuidedClsLoss(BaseHiddenLoss):
    """Cross entropy of ``<attribute>_logits`` with the classes in the batch, mean over the examples that have a class.

    Terms: ``loss``, ``accuracy``; both 0 in a batch where no example has a class. Evaluation logs means over all of the epoch's
    examples that have one, and neither if there is none.

    Args:
        loss_weight: Its weight in the joint loss: a number, or a schedule.
        attribute: Name of the attribute, as in ``guided_cls``: the key of the batch that has the class numbers (B,), with -100
            for unknown ones.
        inputs: Own input name -> name in the pipeline.
    """

    term_names = ("loss", "accuracy")

    def __init__(
        self,
        loss_weight: float | dict[str, Any] = 1.0,
        attribute: str = "label",
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(loss_weight, inputs)
        self.attribute = attribute
        self.input_names = (f"{attribute}_logits",)

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        logits_BC = widened(inputs[self.input_names[0]])
        classes_B = self._classes(batch_data or {}, len(logits_BC)).to(logits_BC.device)
        num_known = self.num_examples(inputs, batch_data).clamp(min=1)
        loss = F.cross_entropy(logits_BC, classes_B, ignore_index=IGNORED_LABEL, reduction="sum") / num_known
        return {"loss": loss, "accuracy": (logits_BC.argmax(1) == classes_B).sum() / num_known}

    def num_examples(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> Tensor:
        """Those that have a class."""
        logits_BC = inputs[self.input_names[0]]
        return (self._classes(batch_data or {}, len(logits_BC)).to(logits_BC.device) != IGNORED_LABEL).sum()

    def _classes(self, batch_data: Mapping[str, Any], num_rows: int) -> Tensor:
        if self.attribute not in batch_data:
            known = ", ".join(map(str, batch_data)) or "nothing"
            raise ValueError(
                f"guided_cls_loss finds no {self.attribute!r} in the batch, which has {known}. Set attribute to a key of it."
            )
        classes_B = batch_data[self.attribute]
        if classes_B.shape != (num_rows,):
            raise ValueError(
                f"The batch's {self.attribute!r} has shape {tuple(classes_B.shape)}; guided_cls_loss takes one class number for "
                f"each of {num_rows} rows, and -100 where it is unknown."
            )
        return classes_B
