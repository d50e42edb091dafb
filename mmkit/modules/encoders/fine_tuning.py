"""Which parts of a Hugging Face model are trained: the last layers, or adapters through peft."""

import warnings
from typing import Any

from torch import nn

from mmkit.extras import require
from mmkit.modules.encoders.freezing import first_parameters, num_frozen_layers, transformer_layers


def add_adapters(model: nn.Module, peft_config: dict[str, Any], needed_by: str) -> Any:
    """Wrap a Hugging Face model so that only its adapters are trained.

    Args:
        model: The model; all its parameters are frozen.
        peft_config: Arguments of peft's configuration, e.g. ``{r: 8, lora_alpha: 16, target_modules: [query, value]}``.
            ``peft_type`` chooses the method and is LoRA (https://arxiv.org/abs/2106.09685) if absent.
        needed_by: The component that asks, named in errors.

    Raises:
        ValueError: Unknown ``peft_type`` or argument.
    """
    peft = require("peft", extra="peft", needed_by=f"{needed_by} with peft_config")
    kinds = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    arguments = dict(peft_config)
    peft_type = str(arguments.pop("peft_type", "LORA")).upper()
    if peft_type not in kinds:
        raise ValueError(f"Unknown peft_type {peft_type!r} for {needed_by}. Allowed: {', '.join(str(k.value) for k in kinds)}.")
    try:
        config = kinds[peft_type](**arguments)
    except TypeError as error:
        raise ValueError(f"peft_config of {needed_by}: {error}") from error
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )  # between peft and transformers
        return peft.get_peft_model(model, config)


def choose_trainable(
    encoder: Any, freeze: bool | int | float, freeze_layer_norm: bool, peft_config: dict[str, Any] | None
) -> None:
    """Freeze layers of ``encoder.model``, or put adapters into it."""
    model, name = encoder.model, type(encoder).__name__
    if not freeze_layer_norm and (peft_config is not None or not freeze):
        warnings.warn(f"{name}: freeze_layer_norm=False has no effect without freeze.", stacklevel=3)
    if peft_config is not None:
        if freeze:
            warnings.warn(f"{name}: freeze={freeze!r} has no effect: with peft_config only adapters are trained.", stacklevel=3)
        encoder.model = add_adapters(model, peft_config, name)
        return
    num_layers = num_frozen_layers(freeze, len(transformer_layers(model)), encoder)
    encoder.freeze_parameters(first_parameters(model, num_layers), freeze_layer_norm)
