"""BART's denoising (https://arxiv.org/abs/1910.13461, §2.2): text infilling, token deletion, sentence permutation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.masking.denoiser import Denoiser, Texts, check_share, flags_of_ids
from mmkit.datasets.masking.placeholders import hide_spans, written_with_masks
from mmkit.datasets.masking.sentences import permute_sentences
from mmkit.datasets.masking.spans import budget_of, place_spans, poisson_lengths
from mmkit.datasets.masking.units import Units, number_units
from mmkit.datasets.masking.whole_words import choose_words, words_to_draw


# Shapes: B texts, L tokens, W units.
@external_store(group="datasets/masking")
class BARTDenoising(Denoiser):
    """Hide spans of a text, one mask each, and have the whole text restored (BART, https://arxiv.org/abs/1910.13461, §2.2).

    Exactly ``round(mask_ratio * n)`` of the n tokens of a text that stand for text are hidden. Spans have Poisson lengths, the
    last one cut to fit; one of length 0 is a mask where nothing was. They never touch while there is room between them. A text
    never gets longer: there are no more masks than hidden tokens.

    Use it after a tokenizer, in ``Compose``. What it draws comes from torch's global generator, which mmkit seeds for every
    batch: other corruptions in every epoch, the same in a repeated run.

    Args:
        tokenizer: See :class:`~mmkit.datasets.masking.denoiser.Denoiser`, also for the ids below.
        mask_ratio: Share of the tokens that are hidden.
        mean_span_length: Expected length of a span; BART's is 3.
        whole_words: Hide words, not parts of them: lengths of spans count words, and as many tokens are hidden as whole words
            can sum up to nearest to the budget.
        delete_ratio: Share of the tokens that are deleted, of those that are not hidden, without a mask.
        permute_sentence_ratio: Share of the sentences that change places; BART's is 1.
        sentence_end_ids: Ids that end a sentence; default: the tokenizer's.
        mask_token_id: Id of the mask.
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
        mask_ratio: float = 0.3,
        mean_span_length: float = 3.0,
        whole_words: bool = False,
        delete_ratio: float = 0.0,
        permute_sentence_ratio: float = 0.0,
        sentence_end_ids: Sequence[int] | None = None,
        mask_token_id: int | None = None,
        special_token_ids: Sequence[int] | None = None,
        pad_id: int | None = None,
        bos_id: int | None = None,
        eos_id: int | None = None,
        modality: str | None = None,
    ) -> None:
        super().__init__(tokenizer, special_token_ids, pad_id, bos_id, eos_id, whole_words, modality)
        self.mask_ratio = check_share("mask_ratio", mask_ratio)
        self.delete_ratio = check_share("delete_ratio", delete_ratio)
        self.permute_sentence_ratio = check_share("permute_sentence_ratio", permute_sentence_ratio)
        if mask_ratio + delete_ratio > 1 + 1e-6:  # 0.9 + 0.1 may exceed 1 by rounding
            raise ValueError(f"mask_ratio + delete_ratio must not exceed 1, got {mask_ratio} + {delete_ratio}.")
        if mean_span_length < 1:
            raise ValueError(f"mean_span_length must be at least 1, got {mean_span_length}.")
        self.mean_span_length = mean_span_length
        self.mask_id = self._id("mask_token_id", mask_token_id)
        self._never_change([self.mask_id])
        if permute_sentence_ratio:
            self._is_end = flags_of_ids(self._id("sentence_end_ids", sentence_end_ids))

    def corrupt(self, texts: Texts, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        tokens_BL, start_BL = texts.tokens_BL, self._word_starts(texts)
        if self.permute_sentence_ratio:
            tokens_BL, start_BL = self._permuted(texts, start_BL, generator)
        units = number_units(texts.maskable_BL, start_BL if self.whole_words else None)
        budget_B = budget_of(self.mask_ratio, texts.maskable_BL.sum(-1))
        num_B = words_to_draw(budget_B, units.size_BW, units.num_B) if self.whole_words else budget_B
        lengths_BS, num_spans_B = poisson_lengths(num_B, self.mean_span_length, generator)
        spans = place_spans(lengths_BS, num_spans_B, units.num_B, generator)
        hidden = hide_spans(spans, units, budget_B if self.whole_words else None, generator)
        kept_BL = texts.real_BL & ~hidden.hidden_BL
        if self.delete_ratio:
            kept_BL &= ~self._deleted(hidden.hidden_BL, units, generator)
        return *written_with_masks(tokens_BL, kept_BL, hidden, self.mask_id, self.pad_id), self.whole_target(texts)

    def _permuted(self, texts: Texts, start_BL: Tensor | None, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        tokens_BL, maskable_BL = texts.tokens_BL, texts.maskable_BL
        if start_BL is not None:
            word_BL = start_BL
        else:  # without a tokenizer a sentence may begin with any token
            word_BL = maskable_BL if self.tokenizer is None else self.tokenizer.word_starts(tokens_BL)
        ends_BL = self._is_one_of(self._is_end, tokens_BL)
        return permute_sentences(tokens_BL, maskable_BL, ends_BL, word_BL, self.permute_sentence_ratio, generator)

    def _deleted(self, hidden_BL: Tensor, units: Units, generator: torch.Generator | None) -> Tensor:
        """Which tokens are deleted, bool (B, L)."""
        hidden_BW1 = torch.zeros_like(units.first_BW1, dtype=torch.bool).scatter(1, units.unit_BL, hidden_BL)
        free_BW = (units.size_BW > 0) & ~hidden_BW1[:, :-1]
        budget_B = budget_of(self.delete_ratio, units.size_BW.sum(-1))
        budget_B = torch.minimum(budget_B, (units.size_BW * free_BW).sum(-1))  # rounding may leave one less
        deleted_BW = choose_words(units.size_BW, torch.zeros_like(free_BW), free_BW, budget_B, generator)
        return torch.cat([deleted_BW, torch.zeros_like(hidden_BW1[:, :1])], -1).gather(1, units.unit_BL)
