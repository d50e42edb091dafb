"""A fixed number of positions out of any number: learned queries that attend to the hidden states."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.hiddens.transform import BaseHiddenTransform
from mmkit.modules.layers.sequence import Perceiver


@external_store(group="hiddens/transform", name="perceiver")
class PerceiverBottleneck(BaseHiddenTransform):
    """Condenses the hidden states into ``pooled`` (B, ``hidden_steps``, H), all of them real (https://arxiv.org/abs/2103.03206).

    Args:
        hidden_size: Size H of the hidden states.
        hidden_steps: How many positions come out.
        num_attention_heads: Attention heads; must divide ``hidden_size``.
        num_layers: How often the positions attend to the hidden states.
        num_self_attention_per_cross_attention: Layers of self-attention between the positions after each time.
        input_size: Size of what comes in; ``hidden_size`` if None.
        dropout: Share of the layers' outputs that is dropped in training.
        inputs: Own input name -> name in the pipeline.
    """

    input_names = ("hiddens", "hiddens_mask")
    output_names = ("pooled",)
    positions_from = None

    def __init__(
        self,
        hidden_size: int,
        hidden_steps: int = 8,
        num_attention_heads: int = 4,
        num_layers: int = 1,
        num_self_attention_per_cross_attention: int = 1,
        input_size: int | None = None,
        dropout: float = 0.0,
        inputs: dict[str, str] | None = None,
    ) -> None:
        super().__init__(inputs)
        self.num_positions = hidden_steps
        self.perceiver = Perceiver(
            hidden_size,
            num_attention_heads,
            hidden_steps,
            num_layers=num_layers,
            num_self_attention_per_cross_attention=num_self_attention_per_cross_attention,
            memory_dim=input_size,
            dropout=dropout,
        )

    def forward(self, inputs: Mapping[str, Tensor], batch_data: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        return {"pooled": self.perceiver(inputs["hiddens"], inputs["hiddens_mask"])}
