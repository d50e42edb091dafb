"""T5's denoising (https://arxiv.org/abs/1910.10683, §3.1.4 and §3.3.4)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.masking.denoiser import Texts, check_share
from mmkit.datasets.masking.span_corruption import RowSettings, SpanCorruption


@external_store(group="datasets/masking")
class T5SpanCorruption(SpanCorruption):
    """Replace spans by sentinels and have a model write them (T5, https://arxiv.org/abs/1910.10683, §3.1.4).

    ``<bos> Thank you for inviting me to your party last week <eos>`` may become ``<bos> Thank you <0> me to your party <1> week
    <eos>`` with the target ``<0> for inviting <1> last <2> <eos>``. Input and target give back the text: :meth:`restore`.

    Exactly ``round(mask_ratio * n)`` of the n tokens of a text that stand for text are hidden, in ``round(hidden /
    mean_span_length)`` spans, never two side by side while there is room. All ways to cut the hidden tokens into spans, and
    all places, are equally likely; T5's own code begins no text with a span and ends every text with one.

    The sentinels are 100 ids of their own. By default they stand behind the vocabulary, so that a model's ``vocab_size`` is the
    tokenizer's + 100 (the attribute ``vocab_size`` here); a tokenizer with ``<extra_id_0>``, ... has them already.

    Args:
        tokenizer: See :class:`~mmkit.datasets.masking.denoiser.Denoiser`, also for the ids below.
        mask_ratio: Share of the tokens that are hidden.
        mean_span_length: Expected length of a span in tokens.
        whole_words: Hide words, not parts of them: as many tokens as whole words can sum up to nearest to the budget.
        num_sentinels: See :class:`~mmkit.datasets.masking.span_corruption.SpanCorruption`.
        sentinels: ``"auto"``, ``"behind"`` or ``"top"``; see :func:`~mmkit.datasets.masking.sentinels.choose_sentinels`.
        sentinel_ids: Ids of the sentinels, instead of both.
        final_sentinel: Close every target with one more sentinel.
        vocab_size: Number of ids, if no tokenizer is given.
        special_token_ids: Ids that are never changed.
        pad_id: Id of padding.
        bos_id: Id that begins a text.
        eos_id: Id that ends a text.
        modality: Names the keys; default: the tokenizer's, or ``"text"``.

    Raises:
        ValueError: If a needed id is missing or a number is out of bounds.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        mask_ratio: float = 0.15,
        mean_span_length: float = 3.0,
        whole_words: bool = False,
        num_sentinels: int = 100,
        sentinels: str = "auto",
        sentinel_ids: Sequence[int] | None = None,
        final_sentinel: bool = True,
        vocab_size: int | None = None,
        special_token_ids: Sequence[int] | None = None,
        pad_id: int | None = None,
        bos_id: int | None = None,
        eos_id: int | None = None,
        modality: str | None = None,
    ) -> None:
        ids = {"special_token_ids": special_token_ids, "pad_id": pad_id, "bos_id": bos_id, "eos_id": eos_id}
        others = {**ids, "whole_words": whole_words, "modality": modality}
        super().__init__(tokenizer, num_sentinels, sentinels, sentinel_ids, vocab_size, final_sentinel, **others)
        self.mask_ratio = check_share("mask_ratio", mask_ratio)
        if mean_span_length < 1:
            raise ValueError(f"mean_span_length must be at least 1, got {mean_span_length}.")
        self.mean_span_length = mean_span_length

    def corrupt(self, texts: Texts, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        blank_B = texts.tokens_BL.new_zeros(len(texts.tokens_BL))
        ratio_B = blank_B.double() + self.mask_ratio
        settings = RowSettings(ratio_B, torch.full_like(ratio_B, self.mean_span_length), blank_B.bool())
        return self.corrupt_rows(texts, settings, generator)
