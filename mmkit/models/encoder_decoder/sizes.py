"""Sizes of what is handed from the encoder to the decoder, and how they are made to fit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mmkit.hiddens import HiddensPipeline
from mmkit.models.encoder_decoder.checks import decoder_name


#: Where encoders keep the size of what they return.
_SIZE_NAMES = ("hidden_size", "output_size", "width", "embed_dim")


def memory_size_of(decoder: nn.Module) -> int | None:
    """Size of the vectors that a decoder attends to; None if it does not tell."""
    config = getattr(decoder, "config", None)
    sizes = [
        getattr(decoder, "memory_size", None),
        getattr(config, "cross_attention_hidden_size", None),
        getattr(config, "hidden_size", None),
    ]
    return next((size for size in sizes if size is not None), None)


def enc_output_size_of(hiddens: HiddensPipeline, encoders: Mapping[str, nn.Module]) -> int | None:
    """Size of ``enc_output``; None where neither a transformation nor an encoder tells it."""
    owner = hiddens.names.owner(hiddens.enc_output_name)
    if owner is not None:
        return hiddens.transforms[owner].latent_size  # pyright: ignore[reportReturnType]
    modality = hiddens.enc_output_name.partition(".")[0]
    return output_size_of(encoders[modality] if modality in encoders else next(iter(encoders.values())))


def num_positions_of(hiddens: HiddensPipeline, encoders: Mapping[str, nn.Module]) -> int | None:
    """Positions of ``enc_output``; None where they depend on the input."""
    name = hiddens.enc_output_name
    while (owner := hiddens.names.owner(name)) is not None:
        source, own = hiddens.names.positions(owner), hiddens.transforms[owner].num_positions
        if own is not None or source is None:
            return own  # pyright: ignore[reportReturnType]
        name = source
    modality = name.partition(".")[0]
    read = [encoders[modality]] if modality in encoders else encoders.values()
    numbers: list[Any] = [getattr(encoder, "num_positions", None) for encoder in read]
    return None if None in numbers else sum(numbers)


def output_size_of(encoder: nn.Module) -> int | None:
    """Size of the vectors that an encoder returns; None if it does not tell."""
    places: list[Any] = [encoder, getattr(encoder, "config", None), getattr(getattr(encoder, "model", None), "config", None)]
    sizes = [getattr(place, name, None) for place in places for name in _SIZE_NAMES]
    return next((size for size in sizes if isinstance(size, int)), None)


def check_memory_size(size: int | None, decoder: nn.Module, source: str) -> None:
    """Refuse a memory that the decoder cannot read; nothing is said where a size is not known.

    Raises:
        ValueError: The sizes differ.
    """
    memory_size = memory_size_of(decoder)
    if size is not None and memory_size is not None and size != memory_size:
        raise ValueError(
            f"{decoder_name(decoder)} attends to vectors of size {memory_size}, but {source} has the size {size}. Set "
            f"decoder.memory_size={size} (TransformerDecoder), one size for both, or memory_projection=true for a linear map."
        )


def projection(size: int | None, decoder: nn.Module) -> nn.Linear:
    """A linear map from ``enc_output`` to what the decoder attends to.

    Raises:
        ValueError: A size is not known.
    """
    memory_size = memory_size_of(decoder)
    if size is None or memory_size is None:
        raise ValueError(
            f"memory_projection maps from {size or 'an unknown size'} to {memory_size or 'an unknown size'}. Set "
            "enc_output_size, the size of what encoder and transformations make, and take a decoder that has memory_size."
        )
    return nn.Linear(size, memory_size)


def precision_of(decoder: nn.Module) -> torch.dtype:
    """That of the decoder's weights: latents are computed in single precision also where the weights are in half."""
    return next(weight.dtype for weight in decoder.parameters() if weight.is_floating_point())
