"""Tokenizers that need no vocabulary file: one token a character, or one a byte."""

import string
from collections.abc import Sequence

from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.tokenizers.base import TextTokenizer, close_with_eos
from mmkit.datasets.tokenizers.words import PLAIN, WordMarks


PRINTABLE_ASCII = string.digits + string.ascii_letters + string.punctuation + " "


@external_store(group="datasets/tokenizers")
class CharacterTokenizer(TextTokenizer):
    """One token a character. Ids: 0 padding, 1 begin, 2 end, 3 mask, 4 any character outside the alphabet, then the alphabet.

    Args:
        alphabet: The known characters, each once; their order gives their ids, from 5 on.
        lowercase: Lower the text first.
        max_length: See :class:`TextTokenizer`.
        padding: See :class:`TextTokenizer`.
        truncation: See :class:`TextTokenizer`.
        modality: See :class:`TextTokenizer`.

    Example:
        >>> CharacterTokenizer(alphabet="abc")(["ab", "c"])
        {'text': tensor([[1, 5, 6, 2], [1, 7, 2, 0]]), 'text_attention_mask': tensor([[1, 1, 1, 1], [1, 1, 1, 0]])}
    """

    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    mask_id: int = 3
    unknown_id: int = 4
    special_ids = (0, 1, 2, 3, 4)

    def __init__(
        self,
        alphabet: str = PRINTABLE_ASCII,
        lowercase: bool = False,
        max_length: int | None = None,
        padding: str = "longest",
        truncation: bool = True,
        modality: str = "text",
    ) -> None:
        super().__init__(max_length, padding, truncation, modality)
        repeated = sorted({character for character in alphabet if alphabet.count(character) > 1})
        if repeated:
            raise ValueError(f"The alphabet holds each character once, but {''.join(repeated)!r} occur more often.")
        self.alphabet = alphabet
        self.lowercase = lowercase
        self.vocab_size = len(self.special_ids) + len(alphabet)
        self._id_of = {character: index for index, character in enumerate(alphabet, len(self.special_ids))}

    def encode(self, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
        texts = [text.lower() for text in texts] if self.lowercase else texts
        bodies = ([self._id_of.get(character, self.unknown_id) for character in text] for text in texts)
        return [close_with_eos(body, self.bos_id, self.eos_id, max_length) for body in bodies]

    def decode(self, token_ids: Sequence[int] | Tensor) -> str:
        """Text of the ids (L,); special tokens, unknown characters and ids behind the vocabulary are left out."""
        first = len(self.special_ids)
        return "".join(self.alphabet[token - first] for token in map(int, token_ids) if first <= token < self.vocab_size)

    def pieces(self) -> list[str]:
        return [""] * len(self.special_ids) + list(self.alphabet)

    def word_marks(self) -> WordMarks:
        return PLAIN


@external_store(group="datasets/tokenizers")
class ByteTokenizer(TextTokenizer):
    """One token a byte of the text's UTF-8. Ids: 0 padding, 1 begin, 2 end, 3 mask, then the 256 bytes.

    Knows every text in every language without a vocabulary; ``vocab_size`` is 260.

    Args:
        max_length: See :class:`TextTokenizer`. A cut may fall inside a character; :meth:`decode` drops what is left of it.
        padding: See :class:`TextTokenizer`.
        truncation: See :class:`TextTokenizer`.
        modality: See :class:`TextTokenizer`.

    Example:
        >>> ByteTokenizer()("é")["text"]
        tensor([  1, 199, 173,   2])
    """

    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    mask_id: int = 3
    special_ids = (0, 1, 2, 3)
    vocab_size = 260

    def __init__(
        self,
        max_length: int | None = None,
        padding: str = "longest",
        truncation: bool = True,
        modality: str = "text",
    ) -> None:
        super().__init__(max_length, padding, truncation, modality)

    def encode(self, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
        first = len(self.special_ids)
        # "surrogatepass": a lone surrogate, as JSON may hold, is data like any other and must not stop a run
        bodies = ([first + byte for byte in text.encode("utf-8", "surrogatepass")] for text in texts)
        return [close_with_eos(body, self.bos_id, self.eos_id, max_length) for body in bodies]

    def decode(self, token_ids: Sequence[int] | Tensor) -> str:
        first = len(self.special_ids)
        tokens = (token for token in map(int, token_ids) if first <= token < self.vocab_size)
        return bytes(token - first for token in tokens).decode("utf-8", "ignore")

    def pieces(self) -> list[str]:
        return [""] * len(self.special_ids) + [chr(byte) if byte < 128 else "\N{REPLACEMENT CHARACTER}" for byte in range(256)]

    def word_marks(self) -> WordMarks:
        return PLAIN
