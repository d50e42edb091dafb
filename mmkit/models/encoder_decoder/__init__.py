"""Encoder–decoders: sequence to sequence, VAE and MIM."""

from mmkit.models.encoder_decoder.generation import normal, row_seeds
from mmkit.models.encoder_decoder.model import EncoderDecoder
from mmkit.models.encoder_decoder.targets import shift_right


__all__ = ["EncoderDecoder", "normal", "row_seeds", "shift_right"]
