"""UL2's mixture of denoisers (https://arxiv.org/abs/2205.05131, §3.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.masking.denoiser import Texts, check_share
from mmkit.datasets.masking.span_corruption import RowSettings, SpanCorruption


# Table 1 of the paper; it draws all seven equally often.
UL2_DENOISERS: dict[str, dict[str, Any]] = {
    "r3": {"mode": "R", "mask_ratio": 0.15, "mean_span_length": 3.0},
    "r8": {"mode": "R", "mask_ratio": 0.15, "mean_span_length": 8.0},
    "s": {"mode": "S", "mask_ratio": 0.25, "mean_span_length": None},
    "x3": {"mode": "X", "mask_ratio": 0.5, "mean_span_length": 3.0},
    "x8": {"mode": "X", "mask_ratio": 0.5, "mean_span_length": 8.0},
    "x64_low": {"mode": "X", "mask_ratio": 0.15, "mean_span_length": 64.0},
    "x64": {"mode": "X", "mask_ratio": 0.5, "mean_span_length": 64.0},
}
_KEYS = ("mode", "mask_ratio", "mean_span_length", "weight")


# Shapes: B texts, T tokens.
@external_store(group="datasets/masking")
class UL2Denoising(SpanCorruption):
    """Corrupt each text by one of several denoisers, drawn at random (UL2, https://arxiv.org/abs/2205.05131, §3.1).

    R corrupts regular spans as T5 does, X corrupts extremely, by long spans or half of the text, and S hides the end of the text
    (sequential, a prefix language model). Inputs and targets are those of :class:`T5SpanCorruption`. A mode token before the
    text, behind the begin token, says which it was.

    The sentinels and then the mode tokens stand behind the vocabulary by default: a model's ``vocab_size`` is the tokenizer's +
    100 + 3 (the attribute ``vocab_size`` here).

    Args:
        tokenizer: See :class:`~mmkit.datasets.masking.denoiser.Denoiser`, also for the ids below.
        denoisers: By name ``{"mode": "R", "mask_ratio": 0.15, "mean_span_length": 3.0, "weight": 1.0}``; without a length
            (null), the end of the text is hidden. Default: the seven of the paper. One that is null is left out.
        mode_tokens: Say the mode; ``False`` leaves the mode tokens out.
        mode_token_ids: Id of each mode's token; default: the ids behind all others, in the order of the denoisers.
        whole_words: See :class:`T5SpanCorruption`; the end of the text begins with a word.
        num_sentinels: See :class:`T5SpanCorruption`.
        sentinels: See :class:`T5SpanCorruption`.
        sentinel_ids: See :class:`T5SpanCorruption`.
        final_sentinel: See :class:`T5SpanCorruption`.
        vocab_size: Number of ids, if no tokenizer is given.
        special_token_ids: Ids that are never changed.
        pad_id: Id of padding.
        bos_id: Id that begins a text.
        eos_id: Id that ends a text.
        modality: Names the keys; default: the tokenizer's, or ``"text"``.

    Attributes:
        mode_token_ids: Id of each mode's token.

    Raises:
        ValueError: If a needed id is missing, or a denoiser is incomplete or out of bounds.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        denoisers: dict[str, Any] | None = None,
        mode_tokens: bool = True,
        mode_token_ids: dict[str, int] | None = None,
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
        given = UL2_DENOISERS if denoisers is None else denoisers
        chosen = {name: _checked(name, denoiser) for name, denoiser in given.items() if denoiser is not None}
        if sum(denoiser["weight"] for denoiser in chosen.values()) <= 0:
            raise ValueError("UL2Denoising needs at least one denoiser with a positive weight.")
        self.denoisers = chosen
        self._weight_D = torch.tensor([denoiser["weight"] for denoiser in chosen.values()], dtype=torch.double)
        self._ratio_D = torch.tensor([denoiser["mask_ratio"] for denoiser in chosen.values()], dtype=torch.double)
        means = [denoiser["mean_span_length"] for denoiser in chosen.values()]
        self._mean_D = torch.tensor([mean or 1.0 for mean in means], dtype=torch.double)
        self._is_suffix_D = torch.tensor([mean is None for mean in means])
        self.mode_token_ids = self._choose_mode_tokens(mode_token_ids) if mode_tokens else {}

    def _choose_mode_tokens(self, given: Mapping[str, int] | None) -> dict[str, int]:
        modes = list(dict.fromkeys(denoiser["mode"] for denoiser in self.denoisers.values()))
        found = dict(given) if given is not None else {mode: self.vocab_size + i for i, mode in enumerate(modes)}
        if missing := [mode for mode in modes if mode not in found]:
            raise ValueError(f"mode_token_ids has no id for the mode {missing[0]!r}. It has: {', '.join(found) or 'none'}.")
        self._mode_id_D = torch.tensor([found[denoiser["mode"]] for denoiser in self.denoisers.values()])
        self._never_change(found.values())
        self.vocab_size = max(self.vocab_size, max(found.values()) + 1)
        return found

    def corrupt(self, texts: Texts, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        drawn_B = self._drawn(len(texts.tokens_BL), generator, texts.tokens_BL.device)
        text_BT, mask_BT, target_BT = self.corrupt_rows(texts, self._settings_of(drawn_B), generator)
        if not self.mode_token_ids:
            return text_BT, mask_BT, target_BT
        return *self._with_mode(text_BT, mask_BT, self._mode_id_D.to(drawn_B.device)[drawn_B]), target_BT

    def _drawn(self, num_texts: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Which denoiser each text gets (B,)."""
        up_to_D = (self._weight_D.cumsum(0) / self._weight_D.sum()).to(device)
        draw_B = torch.rand(num_texts, generator=generator, device=device, dtype=torch.double)
        return torch.searchsorted(up_to_D, draw_B, right=True).clamp(max=len(up_to_D) - 1)

    def _settings_of(self, drawn_B: Tensor) -> RowSettings:
        return RowSettings(*(table.to(drawn_B.device)[drawn_B] for table in (self._ratio_D, self._mean_D, self._is_suffix_D)))

    def _with_mode(self, text_BT: Tensor, mask_BT: Tensor, mode_B: Tensor) -> tuple[Tensor, Tensor]:
        """Put the mode's token before the text, behind its begin token."""
        mode_B1 = mode_B.unsqueeze(-1)
        first_B1 = text_BT[:, :1] if text_BT.shape[-1] else mode_B1
        is_bos_B1 = first_B1 == (-1 if self.bos_id is None else self.bos_id)
        head_B2 = torch.cat([torch.where(is_bos_B1, first_B1, mode_B1), torch.where(is_bos_B1, mode_B1, first_B1)], -1)
        text_BT = torch.cat([head_B2, text_BT[:, 1:]], -1)[:, : mask_BT.shape[-1] + 1]
        return text_BT, torch.cat([torch.ones_like(mode_B1), mask_BT], -1)


def _checked(name: str, denoiser: Mapping[str, Any]) -> dict[str, Any]:
    """A denoiser's settings with their weight."""
    settings = {"weight": 1.0, **denoiser}
    if problems := [f"no `{key}`" for key in _KEYS if key not in settings] + [f"`{k}`" for k in settings if k not in _KEYS]:
        raise ValueError(f"The denoiser {name!r} has {problems[0]}. It takes: {', '.join(_KEYS)}.")
    check_share(f"mask_ratio of the denoiser {name!r}", settings["mask_ratio"])
    mean = settings["mean_span_length"]
    if mean is not None and mean < 1:
        raise ValueError(f"mean_span_length of the denoiser {name!r} must be at least 1, or null for the end, got {mean}.")
    if settings["weight"] < 0:
        raise ValueError(f"The weight of the denoiser {name!r} cannot be negative, got {settings['weight']}.")
    return settings
