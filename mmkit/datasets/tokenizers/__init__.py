"""Tokenizers: strings in, padded token ids and their attention mask out; used as batch processors or on a single string."""

from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.datasets.tokenizers.by_library import text_tokenizer
from mmkit.datasets.tokenizers.characters import ByteTokenizer, CharacterTokenizer
from mmkit.datasets.tokenizers.clip import CLIPTokenizer
from mmkit.datasets.tokenizers.encoded import EncodedText
from mmkit.datasets.tokenizers.huggingface import HFTokenizer
from mmkit.datasets.tokenizers.sentencepiece import SentencePieceTokenizer
from mmkit.datasets.tokenizers.sentencepiece_training import train_sentencepiece


__all__ = [
    "ByteTokenizer",
    "CLIPTokenizer",
    "CharacterTokenizer",
    "EncodedText",
    "HFTokenizer",
    "SentencePieceTokenizer",
    "TextTokenizer",
    "text_tokenizer",
    "train_sentencepiece",
]
