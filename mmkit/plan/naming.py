"""Which argument of a component says what size it takes or gives."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from mmkit.modules.layers.image_normalize import ImageNormalize


# In the order of preference, where several arguments have the value that is looked for.
TAKES = ("in_dim", "in_features", "in_channels", "input_dim", "input_size", "normalized_shape", "num_features", "vocab_size")
TAKES += ("num_embeddings", "embed_dim", "dim", "d_model", "width", "hidden_size")
GIVES = ("projection_dim", "proj_dim", "out_dim", "out_features", "out_channels", "output_dim", "num_classes", "embed_dim")
GIVES += ("embedding_dim", "width", "widths", "dim", "d_model", "hidden_size", "in_dim", "normalized_shape", "num_features")
SIZES = {"text_config", "vision_config", "config", "model_kwargs"}  # arguments that hold others


def taken(module: nn.Module) -> tuple[int, int] | None:
    """The size that a module of torch takes, and along which axis; None if it takes any."""
    if isinstance(module, nn.Linear):
        return module.in_features, -1
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return module.in_channels, 1
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return module.normalized_shape[-1], -1
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm):
        return module.num_features, 1
    if isinstance(module, nn.GroupNorm):
        return module.num_channels, 1
    if isinstance(module, nn.MultiheadAttention):
        return module.embed_dim, -1
    if isinstance(module, nn.RNNBase):
        return module.input_size, -1
    if isinstance(module, ImageNormalize):
        return len(module.scale), -3
    return None


def argument_with(arguments: Mapping[str, Any], size: int, preferred: tuple[str, ...]) -> str | None:
    """The argument that has a size for its value, ``width`` or ``config.hidden_size``; None if none has."""
    having = [name for name, value in _flat(arguments) if _says(value, size)]
    for wanted in preferred:
        for name in having:
            if name.rpartition(".")[2] == wanted:
                return name
    return None


def _flat(arguments: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in arguments.items():
        if isinstance(value, Mapping) and name in SIZES:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _says(value: Any, size: int) -> bool:
    if isinstance(value, list | tuple) and value:
        value = value[-1]
    return isinstance(value, int) and not isinstance(value, bool) and value == size
