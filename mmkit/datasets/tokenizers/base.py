"""What all tokenizers share: checking strings, limiting their length, padding them to a tensor."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from mmkit.datasets.tokenizers.words import WordMarks, WordTable, find_word_starts, sentence_end_ids, word_table


PADDINGS = ("longest", "max_length")


# Shapes: M texts, L tokens.
def pad_token_ids(token_ids: Sequence[Sequence[int]], pad_id: int, length: int) -> tuple[Tensor, Tensor]:
    """Pad every list of ids on the right.

    Args:
        token_ids: One list of ids a text, none longer than ``length``.
        pad_id: The id that fills the rest.
        length: Number of columns.

    Returns:
        The ids (M, L) and their attention mask (M, L), 1 where there is a token and 0 on padding, both long.

    Example:
        >>> pad_token_ids([[5, 6], [7]], pad_id=0, length=2)
        (tensor([[5, 6], [7, 0]]), tensor([[1, 1], [1, 0]]))
    """
    ids_ML = torch.full((len(token_ids), length), pad_id, dtype=torch.long)
    for row, ids in enumerate(token_ids):
        ids_ML[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    num_tokens_M1 = torch.tensor([len(ids) for ids in token_ids], dtype=torch.long).unsqueeze(-1)
    return ids_ML, (torch.arange(length) < num_tokens_M1).long()


class TextTokenizer(ABC):
    """Turn texts into ``{"text": ids, "text_attention_mask": mask}``, both long tensors.

    A list of M strings gives tensors of shape (M, L); one string gives tensors of shape (L,).

    Args:
        max_length: Most tokens a text may have, special tokens included; ``None`` is no limit.
        padding: ``"longest"`` pads to the longest text of the batch, ``"max_length"`` always to ``max_length``.
        truncation: Cut longer texts and keep the token that ends them; ``False`` makes a longer text an error.
        modality: Names the keys of the result, ``"<modality>"`` and ``"<modality>_attention_mask"``.

    Attributes:
        pad_id, bos_id, eos_id, mask_id: Ids of the special tokens; ``None`` where the vocabulary has no such token.
        unknown_id: Id of what the vocabulary cannot write, if there is one.
        special_ids: Ids that never stand for text, and the unknown one.
        vocab_size: Number of ids.

    Raises:
        ValueError: If ``padding`` is unknown, ``"max_length"`` is asked for without a limit, or the limit leaves no room for
            the special tokens.
    """

    pad_id: int
    bos_id: int | None
    eos_id: int | None
    mask_id: int | None
    unknown_id: int | None = None
    special_ids: tuple[int, ...]
    vocab_size: int

    def __init__(self, max_length: int | None, padding: str, truncation: bool, modality: str, num_added_tokens: int = 2) -> None:
        if padding not in PADDINGS:
            raise ValueError(f"Unknown padding {padding!r}. Choose one of: {', '.join(PADDINGS)}.")
        if padding == "max_length" and max_length is None:
            raise ValueError("padding='max_length' needs a `max_length`; this tokenizer has no limit of its own.")
        if max_length is not None and max_length < max(num_added_tokens, 1):
            raise ValueError(f"max_length={max_length} leaves no room for the {num_added_tokens} special tokens of each text.")
        self.max_length = max_length
        self.padding = padding
        self.truncation = truncation
        self.modality = modality

    @abstractmethod
    def encode(self, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
        """Ids of each text, special tokens included, cut to ``max_length`` tokens unless that is ``None``."""

    @abstractmethod
    def decode(self, token_ids: Sequence[int] | Tensor) -> str:
        """Text of the ids (L,) of one text, without its special tokens."""

    def __call__(self, text: str | Sequence[str]) -> dict[str, Tensor]:
        """Tokenize one string or a list of strings.

        Raises:
            TypeError: If something else than a string is given; names its index.
            ValueError: If a text is too long and ``truncation`` is off; names its index and length.
        """
        texts = [text] if isinstance(text, str) else text
        self._check_strings(texts)
        token_ids = self.encode(texts, self.max_length if self.truncation else None)
        self._check_lengths(token_ids)
        longest = max((len(ids) for ids in token_ids), default=0)
        length = self.max_length if self.padding == "max_length" and self.max_length is not None else longest
        ids_ML, mask_ML = pad_token_ids(token_ids, self.pad_id, length)
        if isinstance(text, str):
            ids_ML, mask_ML = ids_ML[0], mask_ML[0]
        return {self.modality: ids_ML, f"{self.modality}_attention_mask": mask_ML}

    def pieces(self) -> Sequence[str]:
        """The piece of text that each id stands for, as the vocabulary writes it."""
        raise NotImplementedError(f"{type(self).__name__} does not tell its pieces. Define pieces() and word_marks() in it.")

    def word_marks(self) -> WordMarks:
        """How the pieces tell words apart.

        Raises:
            ValueError: If they do not.
        """
        raise NotImplementedError(f"{type(self).__name__} does not tell words apart. Define pieces() and word_marks() in it.")

    def word_starts(self, token_ids: Tensor) -> Tensor:
        """Which tokens begin a word, bool, shaped like the ids (..., L).

        White space belongs to the word behind it. Special tokens belong to none, and a word begins behind each of them;
        the unknown token is text like any other.
        """
        return find_word_starts(token_ids, self._word_table)

    @cached_property
    def sentence_end_ids(self) -> tuple[int, ...]:
        """Ids that end a sentence: their piece ends with a full stop, exclamation or question mark."""
        return sentence_end_ids(self.pieces(), self.special_ids)

    @cached_property
    def _word_table(self) -> WordTable:
        return word_table(self.pieces(), self.word_marks(), {*self.special_ids} - {self.unknown_id})

    def _check_strings(self, texts: Sequence[str]) -> None:
        if not isinstance(texts, (list, tuple)):
            raise TypeError(f"{type(self).__name__} takes a string or a list of strings, got {type(texts).__name__}.")
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                given = "None" if text is None else f"of type {type(text).__name__}"
                raise TypeError(f"{type(self).__name__} takes strings, but text {index} of {len(texts)} is {given}.")

    def _check_lengths(self, token_ids: Sequence[Sequence[int]]) -> None:
        if self.truncation or self.max_length is None:
            return
        for index, ids in enumerate(token_ids):
            if len(ids) > self.max_length:
                raise ValueError(
                    f"Text {index} of {len(token_ids)} has {len(ids)} tokens, but max_length is {self.max_length}. "
                    "Shorten it, raise `max_length` if the model allows it, or set truncation=True."
                )


def close_with_eos(body: Sequence[int], bos_id: int, eos_id: int, max_length: int | None) -> list[int]:
    """Put ``body`` between its two special tokens; what ``max_length`` leaves no room for is cut from the end of ``body``."""
    kept = body if max_length is None else body[: max_length - 2]
    return [bos_id, *kept, eos_id]
