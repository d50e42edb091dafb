"""One vector per example: the mean of the real positions."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.modules.layers.pooling import mean_pool


@external_store(group="hiddens/transform", name="mean_pool")
class MeanPool(BaseHiddenTransform):
    """Averages the hidden states of the real positions: ``pooled`` (B, 1, H). A row without any gives zeros.

    Args:
        inputs: Own input name -> name in the pipeline.
    """

    input_names = ("hiddens", "hiddens_mask")
    output_names = ("pooled",)
    positions_from = None
    num_positions = 1

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        return {"pooled": mean_pool(inputs["hiddens"], inputs["hiddens_mask"]).unsqueeze(1)}
