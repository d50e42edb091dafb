"""Decoders: networks that turn hidden vectors into tokens."""

from mmkit.modules.decoders.transformer_decoder import DecoderOutput, TransformerDecoder


__all__ = ["DecoderOutput", "TransformerDecoder"]
