"""Transformer layers over sequences, for encoders and decoders alike."""

from mmkit.modules.layers.sequence.attention import SequenceAttention
from mmkit.modules.layers.sequence.block import SequenceBlock
from mmkit.modules.layers.sequence.feed_forward import FeedForward
from mmkit.modules.layers.sequence.initialization import init_sequence_weights
from mmkit.modules.layers.sequence.norms import final_norm, make_norm
from mmkit.modules.layers.sequence.perceiver import Perceiver
from mmkit.modules.layers.sequence.positions import LearnedPositions


__all__ = [
    "FeedForward",
    "LearnedPositions",
    "Perceiver",
    "SequenceAttention",
    "SequenceBlock",
    "final_norm",
    "init_sequence_weights",
    "make_norm",
]
