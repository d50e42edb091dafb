"""Span corruption with sentinels (T5, https://arxiv.org/abs/1910.10683, §3.1.4), with other shares in every row if asked."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmkit.constants import IGNORED_LABEL
from mmkit.datasets.masking.denoiser import Denoiser, Texts, flags_of_ids
from mmkit.datasets.masking.placeholders import hide_spans, written_with_masks
from mmkit.datasets.masking.sentinels import choose_sentinels, numbered, restore_text
from mmkit.datasets.masking.spans import Spans, budget_of, composed_lengths, place_spans
from mmkit.datasets.masking.units import Units, number_units
from mmkit.datasets.masking.whole_words import suffix_words, words_to_draw


# Shapes: B texts, L tokens, T tokens of the target, N sentinels.
class RowSettings(NamedTuple):
    """How each text is corrupted.

    Attributes:
        ratio_B: Share of the tokens that are hidden, double.
        mean_B: Expected length of a span in tokens, double.
        is_suffix_B: Hide one span at the end instead, bool.
    """

    ratio_B: Tensor
    mean_B: Tensor
    is_suffix_B: Tensor


class SpanCorruption(Denoiser):
    """Put a sentinel for every span into the input, and into the target every sentinel with its span behind it.

    Args:
        num_sentinels: How many sentinels there are; no text has more spans than one less.
        sentinels: Which ids; see :func:`~mmkit.datasets.masking.sentinels.choose_sentinels`.
        sentinel_ids: Ids of the sentinels in their order, instead of both.
        vocab_size: Number of ids; default: the tokenizer's.
        final_sentinel: Close every target with the sentinel behind its last one, as T5 does.
        **others: See :class:`~mmkit.datasets.masking.denoiser.Denoiser`.

    Attributes:
        sentinel_ids: Ids of the sentinels in their order.
        vocab_size: How many ids a model must have.
    """

    def __init__(
        self,
        tokenizer: Any,
        num_sentinels: int,
        sentinels: str,
        sentinel_ids: Sequence[int] | None,
        vocab_size: int | None,
        final_sentinel: bool,
        **others: Any,
    ) -> None:
        super().__init__(tokenizer, **others)
        size = vocab_size if vocab_size is not None else getattr(tokenizer, "vocab_size", None)
        chosen = sentinel_ids if sentinel_ids is not None else choose_sentinels(tokenizer, size, num_sentinels, sentinels)
        if len(set(chosen)) < max(len(chosen), 2):
            raise ValueError(f"sentinel_ids must be at least two different ids, got {list(chosen)}.")
        self.sentinel_ids = tuple(chosen)
        self.vocab_size: int = max(size or 0, max(chosen) + 1)
        self._sentinel_N = torch.tensor(self.sentinel_ids)
        self._is_sentinel = flags_of_ids(self.sentinel_ids)
        self._never_change(self.sentinel_ids)
        self.final_sentinel = final_sentinel

    def corrupt_rows(
        self, texts: Texts, settings: RowSettings, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Corrupted ids and their attention mask, both (B, L'), and the target (B, T); all long."""
        tokens_BL = texts.tokens_BL
        self._check_no_sentinels(tokens_BL)
        units = number_units(texts.maskable_BL, self._word_starts(texts))
        budget_B = budget_of(settings.ratio_B, texts.maskable_BL.sum(-1))
        spans, budget_B = self._spans(units, budget_B, settings, generator)
        hidden = hide_spans(spans, units, budget_B if self.whole_words else None, generator)
        sentinel_N, mark = self._sentinel_N.to(tokens_BL.device), self.sentinel_ids[0]
        kept_BL = texts.real_BL & ~hidden.hidden_BL
        text_BT, mask_BT = written_with_masks(tokens_BL, kept_BL, hidden, mark, self.pad_id)
        target_BT, target_mask_BT = written_with_masks(tokens_BL, hidden.hidden_BL, hidden, mark, self.pad_id)
        target_BT = numbered(target_BT, mark, sentinel_N)
        return numbered(text_BT, mark, sentinel_N), mask_BT, self._closed(target_BT, target_mask_BT, hidden.begins_BL.sum(-1))

    def restore(self, input_ids: Sequence[int], target_ids: Sequence[int]) -> list[int]:
        """Ids of the source of one text, without padding; see :func:`~mmkit.datasets.masking.sentinels.restore_text`."""
        return restore_text(input_ids, target_ids, self.sentinel_ids)

    def _spans(
        self, units: Units, budget_B: Tensor, settings: RowSettings, generator: torch.Generator | None
    ) -> tuple[Spans, Tensor]:
        num_B, suffix_B = budget_B, budget_B
        if self.whole_words:
            suffix_B, suffix_tokens_B = suffix_words(units.size_BW, units.num_B, budget_B)
            num_B = words_to_draw(budget_B, units.size_BW, units.num_B)
            budget_B = torch.where(settings.is_suffix_B, suffix_tokens_B, budget_B)
        num_B = torch.where(settings.is_suffix_B, suffix_B, num_B)
        tokens_B = num_B * units.size_BW.sum(-1) / units.num_B.clamp(min=1)
        num_spans_B = (tokens_B / settings.mean_B).round().long()
        num_spans_B = torch.where(settings.is_suffix_B, 1, num_spans_B).clamp(min=1, max=len(self.sentinel_ids) - 1)
        num_spans_B = torch.minimum(num_spans_B, torch.minimum(num_B, units.num_B - num_B + 1))
        spans = place_spans(composed_lengths(num_B, num_spans_B, generator), num_spans_B, units.num_B, generator)
        end_B1 = (units.num_B - num_B).unsqueeze(-1)
        start_BS = torch.where(settings.is_suffix_B.unsqueeze(-1) & spans.valid_BS, end_B1, spans.start_BS)
        return spans._replace(start_BS=start_BS), budget_B

    def _closed(self, target_BT: Tensor, mask_BT: Tensor, num_spans_B: Tensor) -> Tensor:
        """The target with its final sentinel and end token, -100 behind them."""
        last_B1 = mask_BT.sum(-1, keepdim=True)
        end = [self._sentinel_N.to(target_BT.device)[num_spans_B].unsqueeze(-1)] if self.final_sentinel else []
        end_BE = torch.cat([*end, torch.full_like(last_B1, self.eos_id)], -1)
        target_BT = torch.where(mask_BT.bool(), target_BT, IGNORED_LABEL)
        blank_BE = torch.full_like(end_BE, IGNORED_LABEL)
        place_BE = last_B1 + torch.arange(end_BE.shape[-1], device=end_BE.device)
        return torch.cat([target_BT, blank_BE], -1).scatter(1, place_BE, end_BE)

    def _check_no_sentinels(self, tokens_BL: Tensor) -> None:
        found_BL = self._is_one_of(self._is_sentinel, tokens_BL)
        if bool(found_BL.any()):
            raise ValueError(
                f"A text has the id {int(tokens_BL[found_BL][0])}, which is a sentinel. Choose other ids: sentinels='behind' "
                "takes those behind the vocabulary."
            )
