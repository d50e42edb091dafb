"""Associative recall: pairs of a key and a value, then some of the keys again; which values belong to them?"""

from random import Random
from typing import Any

import torch

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY, IGNORED_LABEL
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.synthetic.base import FIRST_ID, SyntheticTask


# Shapes: L = 2 (num_pairs + num_queries) tokens.
@external_store(group="datasets")
class AssociativeRecall(SyntheticTask):
    """Associative recall as language modelling: ``k₁ v₁ k₂ v₂ … kₙ vₙ q`` is followed by the value of the key q.

    The task of Ba et al. 2016 (https://arxiv.org/abs/1610.06258), as a sequence to continue in the manner of Fu et al. 2023
    (https://arxiv.org/abs/2212.14052). Keys of an example differ, values are drawn independently; q is one of the keys. With
    ``num_queries`` above 1, other keys and their values follow (Arora et al. 2023, https://arxiv.org/abs/2312.04927).

    An example has the tokens, answers included (``text``, LongTensor (L,) with L = 2 (``num_pairs`` + ``num_queries``)), and
    labels (``text_target``, LongTensor (L,)), not shifted: −100 everywhere but at the answers. Ids of keys begin at 3, those of
    values follow.

    Args:
        size: Number of examples.
        num_pairs: Pairs before the first question.
        num_keys: Different keys there are, at least ``num_pairs``.
        num_values: Different values there are; guessing is right once in ``num_values`` times.
        num_queries: Questions, each for another key; more of them teach more in the same time.
        split: Any name; splits of other names have other examples, but for chance.
        seed: Changes all examples.
        modality: Key of the token ids; that of the labels is its target.

    Raises:
        ValueError: There are fewer than two values, no pairs, fewer keys than pairs, or fewer pairs than questions.
    """

    def __init__(
        self,
        size: int = 10_000,
        num_pairs: int = 8,
        num_keys: int = 16,
        num_values: int = 16,
        num_queries: int = 1,
        split: str = "train",
        seed: int = 0,
        modality: str = "text",
    ) -> None:
        super().__init__(size, split, seed, modality)
        if not 1 <= num_pairs <= num_keys:
            raise ValueError(f"AssociativeRecall: num_pairs={num_pairs}. Allowed: 1 to num_keys={num_keys}, for keys differ.")
        if num_values < 2:
            raise ValueError(f"AssociativeRecall: num_values={num_values}. Use 2 or more.")
        if not 1 <= num_queries <= num_pairs:
            raise ValueError(f"AssociativeRecall: num_queries={num_queries}. Allowed: 1 to num_pairs={num_pairs}.")
        self.num_pairs = num_pairs
        self.num_keys = num_keys
        self.num_values = num_values
        self.num_queries = num_queries

    @staticmethod
    def example_spec(
        num_pairs: int = 8,
        num_keys: int = 16,
        num_values: int = 16,
        num_queries: int = 1,
        modality: str = "text",
        **arguments: Any,
    ) -> Example:
        """An example without data, for ``mmkit plan``; the tokens are the largest id there is.

        Args:
            num_pairs: As for the constructor.
            num_keys: As for the constructor.
            num_values: As for the constructor.
            num_queries: As for the constructor.
            modality: As for the constructor.
            **arguments: The constructor's others, which change neither shape nor ids.
        """
        key, largest = Modalities.get_modality(modality), FIRST_ID + num_keys + num_values - 1
        tokens_L = torch.full((2 * (num_pairs + num_queries),), largest)
        return Example({EXAMPLE_INDEX_KEY: 0, key.name: tokens_L, key.target: tokens_L})

    def draw(self, random: Random) -> Example:
        keys = random.sample(range(self.num_keys), self.num_pairs)
        values = [self.num_keys + random.randrange(self.num_values) for _ in keys]
        pairs = list(zip(keys, values, strict=True))
        asked = random.sample(pairs, self.num_queries)
        tokens_L = torch.tensor([FIRST_ID + token for pair in (*pairs, *asked) for token in pair])
        labels_L = torch.full_like(tokens_L, IGNORED_LABEL)
        labels_L[2 * self.num_pairs + 1 :: 2] = tokens_L[2 * self.num_pairs + 1 :: 2]
        return Example({self.modality.name: tokens_L, self.modality.target: labels_L})
