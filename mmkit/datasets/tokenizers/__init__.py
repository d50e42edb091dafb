"""Tokenizers: strings in, padded token ids and their attention mask out; used as batch processors or on a single string."""

from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.datasets.tokenizers.characters import ByteTokenizer, CharacterTokenizer
from mmkit.datasets.tokenizers.clip import CLIPTokenizer
from mmkit.datasets.tokenizers.encoded import EncodedText
from mmkit.datasets.tokenizers.huggingface import HFTokenizer


__all__ = ["ByteTokenizer", "CLIPTokenizer", "CharacterTokenizer", "EncodedText", "HFTokenizer", "TextTokenizer"]
