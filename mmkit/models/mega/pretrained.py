"""What all Mega models share: initial weights, loading and saving, gradient checkpointing."""

from typing import Any, ClassVar

from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.configuration_rules import check_config
from mmkit.models.mega.ema import MultiHeadEMA
from mmkit.models.mega.gated_attention import MovingAverageGatedAttention
from mmkit.models.mega.norms import ScaleNorm
from mmkit.models.mega.relative_bias import RotaryRelativePositionalBias, SimpleRelativePositionalBias


_OWN_START = (MultiHeadEMA, SimpleRelativePositionalBias, RotaryRelativePositionalBias, MovingAverageGatedAttention)


class MegaPreTrainedModel(PreTrainedModel):
    """Base class of the Mega models."""

    config_class = MegaConfig
    config: MegaConfig
    base_model_prefix = "mega"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["MegaBlock"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    # The Hugging Face port saved a helper of its rotary bias with the weights.
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"rel_pos_bias\._float_tensor$"]

    def __init__(self, config: MegaConfig, *inputs: Any, **kwargs: Any) -> None:
        check_config(config)  # settings may have changed since the configuration was built
        super().__init__(config, *inputs, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        """Draw what ``module`` itself holds: as the paper's code does, everything else from normal(0, initializer_range)."""
        if isinstance(module, _OWN_START):
            module.reset_parameters()
        elif isinstance(module, ScaleNorm):
            if module.scalar is not None:
                init.ones_(module.scalar)
        else:
            super()._init_weights(module)
