"""What all denoisers share: special ids, words, and the text that is to be restored."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmkit.constants import IGNORED_LABEL
from mmkit.datasets.masking.placeholders import put_tokens


# Shapes: B texts, L tokens, T tokens of the target.
class Texts(NamedTuple):
    """A batch of texts.

    Attributes:
        tokens_BL: Ids.
        real_BL: Which are no padding, bool.
        maskable_BL: Which stand for text, bool: neither padding nor special.
    """

    tokens_BL: Tensor
    real_BL: Tensor
    maskable_BL: Tensor


class Denoiser(ABC):
    """Corrupt tokenized texts and put what a model is to restore beside them.

    Args:
        tokenizer: A tokenizer of :mod:`mmkit.datasets.tokenizers`, which knows all special ids and, for whole words, where words
            begin. Arguments that are given count instead of it.
        special_token_ids: Ids that are never changed. The tokenizer's unknown token is not among them: it stands for text.
        pad_id: Id of padding.
        bos_id: Id that begins a text, if any; it is no part of the target.
        eos_id: Id that ends a text and its target.
        whole_words: Never hide a part of a word; needs ``tokenizer``.
        modality: Names the keys that are read and returned.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        special_token_ids: Sequence[int] | None = None,
        pad_id: int | None = None,
        bos_id: int | None = None,
        eos_id: int | None = None,
        whole_words: bool = False,
        modality: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.pad_id: int = self._id("pad_id", pad_id)
        self.eos_id: int = self._id("eos_id", eos_id)
        self.bos_id = bos_id if bos_id is not None else getattr(tokenizer, "bos_id", None)
        if whole_words and not hasattr(tokenizer, "word_starts"):
            raise ValueError(f"{type(self).__name__}: whole_words needs a `tokenizer`, which knows where words begin.")
        self.whole_words = whole_words
        self.modality: str = modality if modality is not None else getattr(tokenizer, "modality", "text")
        known = special_token_ids if special_token_ids is not None else _special_ids(tokenizer)
        self._is_special = flags_of_ids({*known, self.eos_id, self.bos_id})

    def _id(self, name: str, given: Any) -> Any:
        """An id, or ids, that are needed: as given, or the tokenizer's.

        Raises:
            ValueError: If there is none.
        """
        found = given if given is not None else getattr(self.tokenizer, name.replace("mask_token_id", "mask_id"), None)
        if found is None:
            owner = "no tokenizer is given" if self.tokenizer is None else f"{type(self.tokenizer).__name__} has none"
            raise ValueError(f"{type(self).__name__} needs `{name}`, and {owner}. Give `{name}`, or a `tokenizer` that has it.")
        return found

    def _never_change(self, ids: Iterable[int]) -> None:
        self._is_special = flags_of_ids({*self._is_special.nonzero().flatten().tolist(), *ids})

    @abstractmethod
    def corrupt(self, texts: Texts, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupted ids and their attention mask, both (B, L'), and the target (B, T); all long."""

    def __call__(self, inputs: Mapping[str, Tensor], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Corrupt texts.

        Args:
            inputs: ``<modality>``, ids (B, L) or (L,), and ``<modality>_attention_mask``; without it, padding is told by its id.
            generator: Source of randomness, on the device of the ids; default: torch's.

        Returns:
            ``inputs`` with corrupted ids and their attention mask, and beside them ``<modality>_target``: what the decoder is to
            produce, without its first token and with its last, -100 on padding.
        """
        tokens = inputs[self.modality]
        mask = inputs.get(f"{self.modality}_attention_mask")
        is_single = tokens.ndim == 1
        texts = self._texts(torch.atleast_2d(tokens), mask)
        corrupted = self.corrupt(texts, generator)
        keys = (self.modality, f"{self.modality}_attention_mask", f"{self.modality}_target")
        new = {key: value[0] if is_single else value for key, value in zip(keys, corrupted, strict=True)}
        return {**inputs, **new}

    def _texts(self, tokens_BL: Tensor, mask: Tensor | None) -> Texts:
        real_BL = tokens_BL != self.pad_id if mask is None else mask.reshape(tokens_BL.shape).bool()
        return Texts(tokens_BL, real_BL, real_BL & ~self._is_one_of(self._is_special, tokens_BL))

    def _is_one_of(self, flags: Tensor, tokens_BL: Tensor) -> Tensor:
        """Whether tokens are among the ids of :func:`flags_of_ids`."""
        return flags.to(tokens_BL.device)[tokens_BL.clamp(max=len(flags) - 1)]

    def _word_starts(self, texts: Texts) -> Tensor | None:
        return self.tokenizer.word_starts(texts.tokens_BL) if self.whole_words else None

    def whole_target(self, texts: Texts) -> Tensor:
        """The texts themselves (B, T), without their first token, with their last, -100 on padding."""
        tokens_BL, real_BL, _ = texts
        wanted_BL = real_BL & ((tokens_BL != self.bos_id) | (real_BL.cumsum(-1) > 1)) if self.bos_id is not None else real_BL
        return packed_with_eos(tokens_BL, wanted_BL, self.eos_id)


def packed_with_eos(tokens_BL: Tensor, wanted_BL: Tensor, eos_id: int) -> Tensor:
    """The wanted tokens of each text (B, T), closed by one end token if they are not, -100 behind them."""
    order_BL = wanted_BL.cumsum(-1)
    num_B1 = order_BL[:, -1:] if order_BL.shape[-1] else order_BL.new_zeros(len(order_BL), 1)
    width = int(num_B1.max()) + 1 if len(num_B1) else 0
    packed_BT = put_tokens(tokens_BL.new_full((len(tokens_BL), width), IGNORED_LABEL), tokens_BL, order_BL - 1, wanted_BL)
    if not width:
        return packed_BT
    is_closed_B1 = (packed_BT.gather(1, (num_B1 - 1).clamp(min=0)) == eos_id) & (num_B1 > 0)
    packed_BT.scatter_(1, num_B1, torch.where(is_closed_B1, IGNORED_LABEL, eos_id))
    return packed_BT[:, : int((num_B1 + ~is_closed_B1).max())]


def _special_ids(tokenizer: Any) -> list[int]:
    unknown_id = getattr(tokenizer, "unknown_id", None)
    return [index for index in getattr(tokenizer, "special_ids", ()) if index != unknown_id]


def flags_of_ids(ids: Iterable[int | None]) -> Tensor:
    """Whether an id is one of ``ids``, bool; the last flag stands for all that follow."""
    known = torch.tensor(sorted(index for index in ids if index is not None), dtype=torch.long)
    return torch.zeros(int(known.max()) + 2 if len(known) else 1, dtype=torch.bool).index_fill(0, known, True)


def check_share(name: str, share: float) -> float:
    """The share itself.

    Raises:
        ValueError: If it is outside of [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {share}.")
    return share
