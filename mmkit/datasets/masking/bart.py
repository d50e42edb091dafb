"""BART's denoising (https://arxiv.org/abs/1910.13461, §2.2): text infilling, token deletion, sentence permutation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.masking.denoiser import Denoiser, Texts
from mmkit.datasets.masking.placeholders import hide_spans, written_with_masks
from mmkit.datasets.masking.spans import Spans, budget_of, place_spans, poisson_lengths
from mmkit.datasets.masking.units import Units, number_units


# Shapes: B texts, L tokens.
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
        mask_token_id: int | None = None,
        special_token_ids: Sequence[int] | None = None,
        pad_id: int | None = None,
        bos_id: int | None = None,
        eos_id: int | None = None,
        modality: str | None = None,
    ) -> None:
        super().__init__(tokenizer, special_token_ids, pad_id, bos_id, eos_id, False, modality)
        if not 0 <= mask_ratio <= 1:
            raise ValueError(f"mask_ratio must be in [0, 1], got {mask_ratio}.")
        if mean_span_length < 1:
            raise ValueError(f"mean_span_length must be at least 1, got {mean_span_length}.")
        self.mask_id = self._id("mask_token_id", mask_token_id)
        self._never_change([self.mask_id])
        self.mask_ratio = mask_ratio
        self.mean_span_length = mean_span_length

    def corrupt(self, texts: Texts, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        units = number_units(texts.maskable_BL)
        hidden = hide_spans(self._spans(units, generator), units)
        kept_BL = texts.real_BL & ~hidden.hidden_BL
        tokens, mask = written_with_masks(texts.tokens_BL, kept_BL, hidden, self.mask_id, self.pad_id)
        return tokens, mask, self.whole_target(texts)

    def _spans(self, units: Units, generator: torch.Generator | None) -> Spans:
        lengths_BS, num_B = poisson_lengths(budget_of(self.mask_ratio, units.num_B), self.mean_span_length, generator)
        return place_spans(lengths_BS, num_B, units.num_B, generator)
