"""Where words begin, told from the pieces of a vocabulary."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.datasets.tokenizers.bpe import END_OF_WORD, byte_symbols


WHITE_SPACE = " \t\n\r\v\f"
SENTENCEPIECE_SPACE = "▁"
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")
_CLOSING = "\"')]}”’»" + WHITE_SPACE + SENTENCEPIECE_SPACE + END_OF_WORD


# Shapes: V ids, L tokens.
class WordMarks(NamedTuple):
    """How the pieces of a vocabulary tell words apart.

    Attributes:
        spaces: Characters that stand for white space, which belongs to the word behind it.
        continuation: What pieces begin with that continue a word; all others begin one.
        end: What the last piece of a word ends with.
    """

    spaces: str = ""
    continuation: str = ""
    end: str = ""


PLAIN = WordMarks(spaces=WHITE_SPACE)
SENTENCEPIECE = WordMarks(spaces=SENTENCEPIECE_SPACE + WHITE_SPACE)
SENTENCEPIECE_SUFFIX = WordMarks(end=SENTENCEPIECE_SPACE)
BYTE_LEVEL = WordMarks(spaces="".join(byte_symbols()[ord(space)] for space in WHITE_SPACE))
WORD_PIECE = WordMarks(continuation="##")
BPE_SUFFIX = WordMarks(end=END_OF_WORD)


class WordTable(NamedTuple):
    """What each id says about words, all bool (V + 1,); the last entry stands for ids behind the vocabulary.

    Attributes:
        begins_V1: A word begins with it, unless the token before ends with white space.
        spaced_V1: It ends with white space that belongs to the word behind.
        ends_V1: A word ends with it.
        apart_V1: It is no text, so that words begin and end beside it.
    """

    begins_V1: Tensor
    spaced_V1: Tensor
    ends_V1: Tensor
    apart_V1: Tensor


def word_table(pieces: Sequence[str], marks: WordMarks, special_ids: Collection[int]) -> WordTable:
    """Read from the pieces of a vocabulary what they say about words.

    Args:
        pieces: The piece of each id.
        marks: How they tell words apart.
        special_ids: Ids that are no text; the unknown token is some.
    """
    spaces = tuple(marks.spaces)
    tells = bool(marks.continuation)
    return WordTable(
        _flags([piece.startswith(spaces) or (tells and not piece.startswith(marks.continuation)) for piece in pieces], False),
        _flags([piece.endswith(spaces) for piece in pieces], False),
        _flags([bool(marks.end) and piece.endswith(marks.end) for piece in pieces], False),
        _flags([index in special_ids for index in range(len(pieces))], True),
    )


def _flags(of_pieces: list[bool], behind: bool) -> Tensor:
    return torch.tensor([*of_pieces, behind], dtype=torch.bool)


def find_word_starts(ids_L: Tensor, table: WordTable) -> Tensor:
    """Which tokens begin a word, bool.

    Args:
        ids_L: Ids (..., L).
        table: What each id says about words.
    """
    ids_L = ids_L.clamp(max=len(table.begins_V1) - 1)
    begins_L, spaced_L, ends_L, apart_L = (flags_V1.to(ids_L.device)[ids_L] for flags_V1 in table)
    starts_L = begins_L.clone()
    starts_L[..., 1:] &= ~spaced_L[..., :-1]
    starts_L[..., 1:] |= (ends_L | apart_L)[..., :-1]
    starts_L[..., :1] = True
    return starts_L & ~apart_L


def sentence_end_ids(pieces: Sequence[str], special_ids: Collection[int]) -> tuple[int, ...]:
    """Ids whose piece ends with a full stop, exclamation or question mark, closing quotes and brackets aside."""
    ends = (index for index, piece in enumerate(pieces) if piece.rstrip(_CLOSING).endswith(SENTENCE_ENDS))
    return tuple(index for index in ends if index not in special_ids)
