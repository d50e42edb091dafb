"""ListOps: what do nested lists under minimum, maximum, median and sum modulo ten come to?"""

from random import Random
from typing import Any

import torch

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.synthetic.base import FIRST_ID, PADDING_ID, SyntheticTask
from mmkit.datasets.synthetic.listops_grammar import TOKENS, draw_expression, evaluate


ID_OF = {token: FIRST_ID + number for number, token in enumerate(TOKENS)}
_NUM_TRIES = 100_000


# Shapes: L = max_length tokens.
@external_store(group="datasets")
class ListOps(SyntheticTask):
    """ListOps (Nangia and Bowman 2018, https://arxiv.org/abs/1804.06028) with the lengths of the Long Range Arena.

    Expressions are drawn from the published grammar until one has a length within the bounds. Brackets and the name of an
    operation are one token, ``[MAX``, as in the Long Range Arena (Tay et al. 2021, https://arxiv.org/abs/2011.04006), whose
    sizes are the defaults.

    An example has the tokens (``text``, LongTensor (L,) with L = ``max_length``, padded on the right with 1), their mask
    (``text_attention_mask``, LongTensor (L,)) and what the expression comes to (``text_target``, 0 to 9). Digits are 3 to 12,
    operations and the closing bracket follow: a model needs ``vocab_size=18`` and ``num_labels=10``.

    Args:
        size: Number of examples.
        min_length: Fewest tokens.
        max_length: Most tokens.
        max_depth: Depth at which there are only digits; the whole expression has depth 1.
        max_args: Most arguments of an operation; there are at least 2.
        split: Any name; splits of other names have other examples, but for chance.
        seed: Changes all examples.
        modality: Key of the token ids; those of mask and result belong to it.

    Raises:
        ValueError: The bounds contradict each other, or none of 100,000 expressions lies within them; finding out takes up to
            half a minute.
    """

    def __init__(
        self,
        size: int = 10_000,
        min_length: int = 500,
        max_length: int = 2000,
        max_depth: int = 10,
        max_args: int = 10,
        split: str = "train",
        seed: int = 0,
        modality: str = "text",
    ) -> None:
        super().__init__(size, split, seed, modality)
        if not 1 <= min_length <= max_length:
            raise ValueError(f"ListOps: min_length={min_length} must be 1 or more, and at most max_length={max_length}.")
        if max_depth < 2 or max_args < 2:
            raise ValueError(f"ListOps: max_depth={max_depth} and max_args={max_args} must be 2 or more.")
        self.min_length = min_length
        self.max_length = max_length
        self.max_depth = max_depth
        self.max_args = max_args
        self.expression(Random(0))  # to refuse bounds that nothing meets here, not in a worker in the middle of a run

    @staticmethod
    def example_spec(max_length: int = 2000, modality: str = "text", **arguments: Any) -> Example:
        """An example without data, for ``mmkit plan``; the tokens are the largest id there is.

        Args:
            max_length: As for the constructor.
            modality: As for the constructor.
            **arguments: The constructor's others, which change neither shape nor ids.
        """
        key, tokens_L = Modalities.get_modality(modality), torch.full((max_length,), max(ID_OF.values()))
        mask_L = torch.ones(max_length, dtype=torch.long)
        return Example({EXAMPLE_INDEX_KEY: 0, key.name: tokens_L, key.attention_mask: mask_L, key.target: 0})

    def expression(self, random: Random) -> list[str]:
        """The tokens of an expression whose length is within the bounds."""
        for _ in range(_NUM_TRIES):
            tokens = draw_expression(random, self.max_depth, self.max_args, self.max_length)
            if tokens is not None and len(tokens) >= self.min_length:
                return tokens
        raise ValueError(
            f"ListOps: none of {_NUM_TRIES:,} expressions with max_depth={self.max_depth} and max_args={self.max_args} has "
            f"{self.min_length} to {self.max_length} tokens. Widen the bounds, or allow more depth or arguments."
        )

    def draw(self, random: Random) -> Example:
        tokens = self.expression(random)
        tokens_L = torch.full((self.max_length,), PADDING_ID)
        tokens_L[: len(tokens)] = torch.tensor([ID_OF[token] for token in tokens])
        mask_L = (torch.arange(self.max_length) < len(tokens)).long()
        key = self.modality
        return Example({key.name: tokens_L, key.attention_mask: mask_L, key.target: evaluate(tokens)})
