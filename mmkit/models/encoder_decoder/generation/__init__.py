"""Generation of token sequences: greedy, sampling, beam search."""

from mmkit.models.encoder_decoder.generation.beam_search import Hypotheses, beam_search
from mmkit.models.encoder_decoder.generation.generating import generate
from mmkit.models.encoder_decoder.generation.random_numbers import normal, row_seeds


__all__ = ["Hypotheses", "beam_search", "generate", "normal", "row_seeds"]
