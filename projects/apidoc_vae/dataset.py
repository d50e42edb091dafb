"""The data set ``APIDocs``."""

from typing import Any

from torch.utils.data import Dataset

from mmkit.conf import external_store
from mmkit.datasets.core import Example
from mmkit.datasets.text.dataset import TextMMap
from projects.apidoc_vae.recipe import SPLITS, APIDocsRecipe


@external_store(group="datasets")
class APIDocs(Dataset[Example]):
    """Documentation texts of web services; made by ``mmkit data prepare apidocs``.

    An example has the text (``text``) and ``example_index``.

    Args:
        split: ``"train"`` (194,525 texts), ``"val"`` (10,742) or ``"test"`` (10,828).
        seq_length: Most tokens of an example, special tokens included; needs ``tokenizer``. Default: no limit.
        tokenizer: Tells how long a text is; the one of the collator.
        long_lines: ``"truncate"`` drops what a longer text has beyond; ``"continue"`` makes further examples of it.

    Raises:
        ValueError: An unknown split.
        RefusedError: The data is not prepared; says what to type.
    """

    def __init__(
        self, split: str = "train", seq_length: int | None = None, tokenizer: Any = None, long_lines: str = "truncate"
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"APIDocs: unknown split {split!r}. Allowed: {', '.join(SPLITS)}.")
        path = APIDocsRecipe().locate() / f"{split}.txt"
        self._texts = TextMMap(str(path), seq_length=seq_length, tokenizer=tokenizer, long_lines=long_lines)

    @staticmethod
    def example_spec(split: str = "train", **arguments: Any) -> Example:
        """An example without data, for ``mmkit plan``; see :meth:`TextMMap.example_spec`.

        Args:
            split: Changes nothing.
            **arguments: The constructor's others.
        """
        return TextMMap.example_spec(**arguments)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> Example:
        return self._texts[index]
