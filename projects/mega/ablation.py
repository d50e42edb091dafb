"""Mega without one of its two parts, to see what each of them is for."""

from typing import Any

from torch import Tensor

from mmkit.conf import external_store
from mmkit.models import MegaWithHead


PARTS = ("ema", "attention")


@external_store(group="models", name="AblatedMega")
def ablated(model: MegaWithHead, without: str | None = None) -> MegaWithHead:
    """A Mega model whose layers lack a part; all parameters stay where they are, those of the part are of no effect.

    Args:
        model: The model, which is changed and given back.
        without: ``"ema"``: queries, keys and gates see each position alone. ``"attention"``: what a position would attend to is
            itself, so that only the moving average mixes positions. ``None``: nothing is taken away.

    Raises:
        ValueError: An unknown part.
    """
    from mmkit.models.mega.block import MegaBlock  # transformers is loaded when a model is built, not when it is named

    if without is not None and without not in PARTS:
        raise ValueError(f"Mega cannot be without {without!r}. Allowed: {', '.join(PARTS)}, null.")
    for block in model.modules():
        if isinstance(block, MegaBlock) and without is not None:
            layer = _kinds()[without](model.config)
            layer.load_state_dict(block.mega_layer.state_dict())
            block.mega_layer = layer.train(block.training)
    return model


def _kinds() -> dict[str, Any]:
    """A kind of layer for each part that may be missing; each overrides the method in which positions would be mixed."""
    from mmkit.models.mega.gated_attention import MovingAverageGatedAttention

    class WithoutEMA(MovingAverageGatedAttention):
        def moving_average(self, x_BLD: Tensor, *_: Any) -> Tensor:
            return x_BLD

    class WithoutAttention(MovingAverageGatedAttention):
        def attention(self, q_BLZ: Tensor, k_BLZ: Tensor, v_BLH: Tensor, *_: Any) -> tuple[Tensor, None]:
            return v_BLH, None

    return {"ema": WithoutEMA, "attention": WithoutAttention}
