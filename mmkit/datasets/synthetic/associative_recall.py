"""Associative recall: pairs of a key and a value, then one of the keys again; which value belongs to it?"""

from random import Random
from typing import Any

import torch

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.synthetic.base import FIRST_ID, IGNORED, SyntheticTask


# Shapes: L = 2 num_pairs + 2 tokens.
@external_store(group="datasets")
class AssociativeRecall(SyntheticTask):
    """Associative recall as language modelling: ``k₁ v₁ k₂ v₂ … kₙ vₙ q`` is followed by the value of the key q.

    The task of Ba et al. 2016 (https://arxiv.org/abs/1610.06258), as a sequence to continue in the manner of Fu et al. 2023
    (https://arxiv.org/abs/2212.14052). Keys of an example differ, values are drawn independently; q is one of the keys.

    An example has the tokens, answer included (``text``, LongTensor (L,) with L = 2 ``num_pairs`` + 2), and labels
    (``text_target``, LongTensor (L,)), not shifted: −100 everywhere but at the answer. Ids of keys begin at 3, those of values
    follow.

    Args:
        size: Number of examples.
        num_pairs: Pairs before the question.
        num_keys: Different keys there are, at least ``num_pairs``.
        num_values: Different values there are; guessing is right once in ``num_values`` times.
        split: Any name; splits of other names have other examples, but for chance.
        seed: Changes all examples.
        modality: Key of the token ids; that of the labels is its target.

    Raises:
        ValueError: There are fewer than two values, no pairs, or fewer keys than pairs.
    """

    def __init__(
        self,
        size: int = 10_000,
        num_pairs: int = 8,
        num_keys: int = 16,
        num_values: int = 16,
        split: str = "train",
        seed: int = 0,
        modality: str = "text",
    ) -> None:
        super().__init__(size, split, seed, modality)
        if not 1 <= num_pairs <= num_keys:
            raise ValueError(f"AssociativeRecall: num_pairs={num_pairs}. Allowed: 1 to num_keys={num_keys}, for keys differ.")
        if num_values < 2:
            raise ValueError(f"AssociativeRecall: num_values={num_values}. Use 2 or more.")
        self.num_pairs = num_pairs
        self.num_keys = num_keys
        self.num_values = num_values

    @staticmethod
    def example_spec(num_pairs: int = 8, modality: str = "text", **arguments: Any) -> Example:
        """An example without data, for ``mmkit plan``.

        Args:
            num_pairs: As for the constructor.
            modality: As for the constructor.
            **arguments: The constructor's others, which change no shape.
        """
        key, tokens_L = Modalities.get_modality(modality), torch.full((2 * num_pairs + 2,), FIRST_ID)
        return Example({EXAMPLE_INDEX_KEY: 0, key.name: tokens_L, key.target: tokens_L})

    @property
    def vocab_size(self) -> int:
        return FIRST_ID + self.num_keys + self.num_values

    def draw(self, random: Random) -> Example:
        keys = random.sample(range(self.num_keys), self.num_pairs)
        values = [random.randrange(self.num_values) for _ in keys]
        asked = random.randrange(self.num_pairs)
        pairs = [*zip(keys, values, strict=True), (keys[asked], values[asked])]
        tokens_L = torch.tensor([FIRST_ID + token for key, value in pairs for token in (key, self.num_keys + value)])
        labels_L = torch.full_like(tokens_L, IGNORED)
        labels_L[-1] = tokens_L[-1]
        return Example({self.modality.name: tokens_L, self.modality.target: labels_L})
