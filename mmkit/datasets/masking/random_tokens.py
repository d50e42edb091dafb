"""Random tokens hidden for masked language modelling (BERT, https://arxiv.org/abs/1810.04805, §3.1)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.constants import IGNORED_LABEL


# Shapes: B texts, L tokens; a leading B may be absent.
class MaskedTokens(NamedTuple):
    """Tokens with some of them hidden.

    Attributes:
        tokens: Ids (B, L), some replaced.
        labels: The original ids (B, L) where a prediction is asked for, :data:`~mmkit.constants.IGNORED_LABEL` elsewhere.
        selected: Where a prediction is asked for, bool (B, L).
    """

    tokens: Tensor
    labels: Tensor
    selected: Tensor


def mask_random_tokens(
    tokens_BL: Tensor,
    selectable_BL: Tensor,
    mask_token_id: int,
    replacement_ids: Tensor,
    probability: float = 0.15,
    mask_ratio: float = 0.8,
    random_ratio: float = 0.1,
    generator: torch.Generator | None = None,
) -> MaskedTokens:
    """Select each selectable token with ``probability``; show the mask, a random token, or the token itself instead.

    Args:
        tokens_BL: Ids, long (B, L); not changed.
        selectable_BL: Which tokens may be selected, bool (B, L).
        mask_token_id: Replaces a share ``mask_ratio`` of the selected tokens.
        replacement_ids: Ids (K,), of which a random one replaces a share ``random_ratio`` of the selected tokens.
        probability: Chance of each token to be selected; independent, so the number of selected tokens varies.
        mask_ratio: See ``mask_token_id``.
        random_ratio: See ``replacement_ids``; what is left of the selected tokens stays as it is.
        generator: Source of randomness, on the device of the tokens; default: torch's.
    """
    random = {"generator": generator, "device": tokens_BL.device}
    selected_BL = selectable_BL & (torch.rand(tokens_BL.shape, **random) < probability)
    fate_BL = torch.rand(tokens_BL.shape, **random)
    other_BL = replacement_ids[torch.randint(len(replacement_ids), tokens_BL.shape, **random)]
    shown_BL = torch.where(fate_BL < mask_ratio, mask_token_id, other_BL)
    replaced_BL = selected_BL & (fate_BL < mask_ratio + random_ratio)
    return MaskedTokens(
        tokens=torch.where(replaced_BL, shown_BL, tokens_BL),
        labels=torch.where(selected_BL, tokens_BL, IGNORED_LABEL),
        selected=selected_BL,
    )


@external_store(group="datasets/masking")
class RandomMaskGenerator:
    """Hide random tokens of tokenized text, as BERT does: 15 %, of which 80 % masked, 10 % random, 10 % unchanged.

    Special tokens and padding are never selected, and special tokens never replace one. Use it after a tokenizer, e.g. in
    ``Compose``.

    Args:
        mask_token_id: Id of the mask token.
        vocab_size: Number of ids; random replacements are drawn from all that are not special.
        special_token_ids: Ids that never stand for text.
        probability: Chance of each token to be selected.
        mask_ratio: Share of the selected tokens that become the mask token.
        random_ratio: Share of the selected tokens that become a random token.
        modality: Names the keys that are read and returned.

    Raises:
        ValueError: If a share is outside [0, 1], both shares exceed 1, there is no mask token or nothing but special tokens.
    """

    def __init__(
        self,
        mask_token_id: int,
        vocab_size: int,
        special_token_ids: Sequence[int] = (),
        probability: float = 0.15,
        mask_ratio: float = 0.8,
        random_ratio: float = 0.1,
        modality: str = "text",
    ) -> None:
        shares = {"probability": probability, "mask_ratio": mask_ratio, "random_ratio": random_ratio}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}.")
        if mask_ratio + random_ratio > 1 + 1e-6:  # 0.9 + 0.1 may exceed 1 by rounding
            raise ValueError(f"mask_ratio + random_ratio must not exceed 1, got {mask_ratio} + {random_ratio}.")
        if mask_token_id is None:
            raise ValueError("There is no mask token. CLIP's vocabulary has none; use a tokenizer that has one.")
        self.mask_token_id = mask_token_id
        self.special_token_ids = torch.tensor(sorted({*special_token_ids, mask_token_id}))
        ordinary = torch.ones(vocab_size, dtype=torch.bool).index_fill(0, self.special_token_ids, False)
        self.replacement_ids = ordinary.nonzero().squeeze(-1)
        if len(self.replacement_ids) == 0:
            raise ValueError(f"All {vocab_size} ids are special; there is nothing to mask.")
        self.shares = shares
        self.modality = modality

    @classmethod
    def for_tokenizer(cls, tokenizer: Any, **kwargs: Any) -> "RandomMaskGenerator":
        """Take the ids and the modality from a tokenizer of :mod:`mmkit.datasets.tokenizers`."""
        return cls(tokenizer.mask_id, tokenizer.vocab_size, tokenizer.special_ids, modality=tokenizer.modality, **kwargs)

    def __call__(self, inputs: Mapping[str, Tensor], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Hide some tokens.

        Args:
            inputs: ``<modality>``, ids (B, L) or (L,), and ``<modality>_attention_mask``, if there is padding.
            generator: Source of randomness; default: torch's.

        Returns:
            ``inputs`` with some ids replaced, and beside them ``<modality>_target``, the labels (-100 where no prediction is
            asked for), and ``<modality>_mask``, true where one is; shaped like the ids.
        """
        tokens_BL = inputs[self.modality]
        selectable_BL = ~torch.isin(tokens_BL, self.special_token_ids.to(tokens_BL.device))
        attention_mask_BL = inputs.get(f"{self.modality}_attention_mask")
        if attention_mask_BL is not None:
            selectable_BL &= attention_mask_BL.bool()
        replacement_ids = self.replacement_ids.to(tokens_BL.device)
        masked = mask_random_tokens(
            tokens_BL, selectable_BL, self.mask_token_id, replacement_ids, **self.shares, generator=generator
        )
        names = {"": masked.tokens, "_target": masked.labels, "_mask": masked.selected}
        return {**inputs, **{f"{self.modality}{suffix}": value for suffix, value in names.items()}}
