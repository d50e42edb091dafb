"""What an encoder and a decoder must have to work together; found out when the model is built."""

from collections.abc import Mapping
from inspect import signature

from torch import nn

from mmkit.datasets.core import Modalities
from mmkit.models.hf_model import HFModel


def encoders_by_modality(
    encoder: nn.Module | None, encoders: Mapping[str, nn.Module] | None, modality: str | None
) -> dict[str, nn.Module]:
    """The encoders by modality, of either argument.

    Raises:
        ValueError: Both are given or neither, an unknown modality, or an encoder that reads another one.
    """
    if (encoder is None) == (not encoders):
        given = "both" if encoder is not None else "neither"
        raise ValueError(f"An encoder-decoder takes `encoder`, or `encoders` by modality; {given} was given. Set one of them.")
    if encoder is not None:
        name = modality or getattr(encoder, "modality", "text")
        encoders = {Modalities.get_modality(name).name: encoder}
    elif modality is not None:
        raise ValueError(f"modality={modality!r} is of a single encoder. Name the encoders: encoders.{modality}.")
    assert encoders is not None
    for name, each in encoders.items():
        own = getattr(each, "modality", name)
        if own != Modalities.get_modality(name).name:
            raise ValueError(
                f"The encoder of {name!r} ({type(each).__name__}) reads {own!r}. Set its argument modality={name}, or give it as "
                f"the encoder of {own!r}."
            )
    return dict(encoders)


def check_cross_attention(decoder: nn.Module) -> None:
    """Refuse a decoder that cannot attend to a memory.

    Raises:
        ValueError: It cannot; with what to set.
    """
    name, config = decoder_name(decoder), getattr(decoder, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{name} is an encoder-decoder of its own. Give a decoder alone, e.g. a causal_lm with cross-attention.")
    has_none = config is not None and not getattr(config, "add_cross_attention", False)
    taken = signature(inner_decoder(decoder).forward).parameters.values()
    if has_none or not any(x.name == "encoder_hidden_states" or x.kind is x.VAR_KEYWORD for x in taken):
        raise ValueError(
            f"{name} has no cross-attention, so it cannot read what the encoder found. Set add_cross_attention=true in its "
            "configuration (and is_decoder=true, where the model knows that), or take TransformerDecoder."
        )


def inner_decoder(decoder: nn.Module) -> nn.Module:
    """The decoder itself, without mmkit's wrapper."""
    return decoder.model if isinstance(decoder, HFModel) else decoder


def decoder_name(decoder: nn.Module) -> str:
    """What messages call a decoder."""
    return type(inner_decoder(decoder)).__name__
