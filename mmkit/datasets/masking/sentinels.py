"""Sentinels: the ids that stand for spans in T5's inputs and targets (https://arxiv.org/abs/1910.10683, §3.1.4)."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.constants import IGNORED_LABEL


PLACES = ("auto", "behind", "top")
_NAME = re.compile(r"▁?<extra_id_(\d+)>")


def choose_sentinels(tokenizer: Any, vocab_size: int | None, num_sentinels: int, place: str) -> list[int]:
    """Ids of the sentinels, in the order in which they stand in a text.

    Args:
        tokenizer: May have pieces ``<extra_id_0>``, ... of its own.
        vocab_size: Number of ids of the tokenizer.
        num_sentinels: How many.
        place: ``"behind"``: the ids from ``vocab_size`` on, so a model's vocabulary is larger by as many; ``"top"``: the last ids
            below it, the very last first, as T5 has them; ``"auto"``: the tokenizer's own if it has such, otherwise behind.

    Raises:
        ValueError: An unknown place, too few sentinels, or a vocabulary that is too small or of unknown size.
    """
    if place not in PLACES:
        raise ValueError(f"Unknown place of the sentinels {place!r}. Choose one of: {', '.join(PLACES)}.")
    if num_sentinels < 2:
        raise ValueError(f"num_sentinels must be at least 2: one for a span and one for the end, got {num_sentinels}.")
    if place == "auto" and (own := _own_sentinels(tokenizer)):
        return own
    if vocab_size is None:
        raise ValueError("Sentinels behind a vocabulary need its size. Give `vocab_size`, `sentinel_ids` or a `tokenizer`.")
    if place == "top" and vocab_size < num_sentinels:
        raise ValueError(f"A vocabulary of {vocab_size} ids has no room for {num_sentinels} sentinels at its top.")
    first, step = (vocab_size - 1, -1) if place == "top" else (vocab_size, 1)
    return [first + step * index for index in range(num_sentinels)]


def _own_sentinels(tokenizer: Any) -> list[int]:
    pieces: Sequence[str] = tokenizer.pieces() if hasattr(tokenizer, "pieces") else ()
    numbers = {int(found[1]): index for index, piece in enumerate(pieces) if (found := _NAME.fullmatch(piece))}
    return [numbers[number] for number in sorted(numbers)] if len(numbers) > 1 else []


# Shapes: B texts, T tokens, N sentinels.
def numbered(text_BT: Tensor, placeholder: int, sentinel_N: Tensor) -> Tensor:
    """The text with the first sentinel at the first placeholder, the second at the second, and so on.

    Raises:
        ValueError: If there are not enough.
    """
    is_mark_BT = text_BT == placeholder
    rank_BT = is_mark_BT.cumsum(-1)
    most = int(rank_BT[:, -1].max()) if rank_BT.numel() else 0
    if most > len(sentinel_N) - 1:
        raise ValueError(
            f"A text has {most} spans, but {len(sentinel_N)} sentinels are enough for {len(sentinel_N) - 1}: special tokens "
            "within the text cut spans. Raise num_sentinels, shorten the texts or lower the mask ratio."
        )
    return torch.where(is_mark_BT, sentinel_N[(rank_BT - 1).clamp(min=0)], text_BT)


def restore_text(input_ids: Sequence[int], target_ids: Sequence[int], sentinel_ids: Sequence[int]) -> list[int]:
    """Put the spans of a target back where their sentinels stand in the input: the inverse of span corruption.

    Also reads what a model wrote; a span that it left out is empty.

    Args:
        input_ids: Ids of one corrupted text, without padding.
        target_ids: Ids of its target, -100 and the end token included or not.
        sentinel_ids: Ids of the sentinels in their order.

    Example:
        >>> restore_text([1, 50, 6, 51, 2], [50, 5, 51, 7, 8, 52, 2], [50, 51, 52])
        [1, 5, 6, 7, 8, 2]
    """
    sentinels, spans, last = set(sentinel_ids), {}, None
    for token in target_ids:
        if token in sentinels:
            last = token
            spans.setdefault(token, [])
        elif last is not None and token != IGNORED_LABEL:
            spans[last].append(token)
    return [token for given in input_ids for token in (spans.get(given, []) if given in sentinels else [given])]
