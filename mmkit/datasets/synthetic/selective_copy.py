"""Selective copying: some symbols are spread among blanks; repeat them in their order."""

from random import Random
from typing import Any

import torch

from mmkit.conf.store import external_store
from mmkit.constants import EXAMPLE_INDEX_KEY, IGNORED_LABEL
from mmkit.datasets.core import Example, Modalities
from mmkit.datasets.synthetic.base import FIRST_ID, SyntheticTask


BLANK_ID = FIRST_ID
#: Asks for the next symbol.
MARKER_ID = FIRST_ID + 1
FIRST_SYMBOL_ID = FIRST_ID + 2


# Shapes: L = length + num_copied + 1 tokens.
@external_store(group="datasets")
class SelectiveCopy(SyntheticTask):
    """The selective copying task of Mamba (Gu and Dao 2023, section 4.1.1, https://arxiv.org/abs/2312.00752).

    Symbols stand at random places among blanks, so that where they are does not tell what to copy, unlike in the copying
    task of Arjovsky et al. 2016. ``num_copied`` + 1 markers follow; at each but the last, the next symbol is to be
    told. The sizes of the paper are the defaults.

    An example has the tokens (``text``, LongTensor (L,) with L = ``length`` + ``num_copied`` + 1) and labels (``text_target``,
    LongTensor (L,)), not shifted: the label after each of these markers is the symbol, all others are −100. A model
    is given markers only, never the symbols that it should have told before. Blanks are 3, markers 4, symbols follow: a model
    needs ``vocab_size`` = 5 + ``num_symbols``.

    Args:
        size: Number of examples.
        length: Tokens before the first marker.
        num_copied: Symbols among them.
        num_symbols: Different symbols there are.
        split: Any name; splits of other names have other examples, but for chance.
        seed: Changes all examples.
        modality: Key of the token ids; that of the labels is its target.

    Raises:
        ValueError: There are fewer than two different symbols, none to copy, or more to copy than places.
    """

    def __init__(
        self,
        size: int = 10_000,
        length: int = 4096,
        num_copied: int = 16,
        num_symbols: int = 14,
        split: str = "train",
        seed: int = 0,
        modality: str = "text",
    ) -> None:
        super().__init__(size, split, seed, modality)
        if not 1 <= num_copied <= length:
            raise ValueError(f"SelectiveCopy: num_copied={num_copied}. Allowed: 1 to length={length}.")
        if num_symbols < 2:
            raise ValueError(f"SelectiveCopy: num_symbols={num_symbols}. Use 2 or more.")
        self.length = length
        self.num_copied = num_copied
        self.num_symbols = num_symbols

    @staticmethod
    def example_spec(
        length: int = 4096, num_copied: int = 16, num_symbols: int = 14, modality: str = "text", **arguments: Any
    ) -> Example:
        """An example without data, for ``mmkit plan``; the tokens are the largest id there is.

        Args:
            length: As for the constructor.
            num_copied: As for the constructor.
            num_symbols: As for the constructor.
            modality: As for the constructor.
            **arguments: The constructor's others, which change neither shape nor ids.
        """
        key, largest = Modalities.get_modality(modality), FIRST_SYMBOL_ID + num_symbols - 1
        tokens_L = torch.full((length + num_copied + 1,), largest)
        return Example({EXAMPLE_INDEX_KEY: 0, key.name: tokens_L, key.target: tokens_L})

    def draw(self, random: Random) -> Example:
        places = torch.tensor(sorted(random.sample(range(self.length), self.num_copied)))
        symbols = torch.tensor([FIRST_SYMBOL_ID + random.randrange(self.num_symbols) for _ in range(self.num_copied)])
        tokens_L = torch.full((self.length + self.num_copied + 1,), MARKER_ID)
        tokens_L[: self.length] = BLANK_ID
        tokens_L[places] = symbols
        labels_L = torch.full_like(tokens_L, IGNORED_LABEL)
        labels_L[-self.num_copied :] = symbols
        return Example({self.modality.name: tokens_L, self.modality.target: labels_L})
