"""Class scores of an attribute, so that a latent space is arranged by it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmkit.conf import external_store
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.modules.layers.pooling import mean_pool


@external_store(group="hiddens/transform", name="guided_cls")
class GuidedCls(BaseHiddenTransform):
    """Scores the classes of an attribute from the mean over the real positions: ``<attribute>_logits`` (B, C).

    The other half is the loss ``guided_cls_loss``, which reads the classes from the batch.

    Args:
        hidden_size: Size of what comes in; of the latent variable if ``inputs`` says ``{hiddens: z}``.
        num_classes: Number C of classes.
        attribute: Name of the attribute: a key of the batch with class numbers (B,).
        mlp_size: Size of a hidden layer between; None: the scores are linear.
        inputs: Own input name -> name in the pipeline, e.g. ``{hiddens: z}`` to guide the latent variable.
    """

    input_names = ("hiddens", "hiddens_mask")
    positions_from = None

    def __init__(
        self,
        hidden_size: int,
        num_classes: int,
        attribute: str = "label",
        mlp_size: int | None = None,
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(inputs)
        self.output_names = (f"{attribute}_logits",)
        layers = [nn.Linear(hidden_size, mlp_size), nn.GELU()] if mlp_size else []
        self.scores = nn.Sequential(*layers, nn.Linear(mlp_size or hidden_size, num_classes))

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        pooled_BH = mean_pool(inputs["hiddens"], inputs["hiddens_mask"])
        return {self.output_names[0]: self.scores(pooled_BH.to(next(self.parameters()).dtype))}
