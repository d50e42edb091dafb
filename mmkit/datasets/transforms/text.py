"""Transforms of text; each takes one string or a list of strings and returns the same."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, overload

import torch

from mmkit.conf.store import external_store


class TextTransform(ABC):
    """A change of one text that also works on a list of texts, so that it serves a data set and a batch alike.

    Randomness is torch's, so it follows the seed of the run and of the worker.
    """

    @abstractmethod
    def transform(self, text: str) -> str:
        """The changed text."""

    @overload
    def __call__(self, text: str) -> str: ...

    @overload
    def __call__(self, text: Sequence[str]) -> list[str]: ...

    def __call__(self, text: str | Sequence[str]) -> str | list[str]:
        """Change one text or each of several.

        Raises:
            TypeError: If something else than a string is given.
        """
        if isinstance(text, str):
            return self.transform(text)
        if not isinstance(text, (list, tuple)):
            raise TypeError(f"{type(self).__name__} takes a string or a list of strings, got {type(text).__name__}.")
        for index, one in enumerate(text):
            if not isinstance(one, str):
                raise TypeError(f"{type(self).__name__} takes strings, but text {index} of {len(text)} is {type(one).__name__}.")
        return [self.transform(one) for one in text]


@external_store(group="datasets/transforms")
class TrimText(TextTransform):
    """Keep the beginning of a text.

    Args:
        trim_size: How much is kept; ``0`` keeps nothing.
        unit: What is counted: ``"characters"``, or ``"words"``, separated by white space. Trimmed to words, the kept words are
            joined by single spaces.

    Example:
        >>> TrimText(2, unit="words")(["one two  three", "one"])
        ['one two', 'one']
    """

    def __init__(self, trim_size: int, unit: Literal["characters", "words"] = "characters") -> None:
        if trim_size < 0:
            raise ValueError(f"trim_size counts {unit}, so it cannot be negative, got {trim_size}.")
        if unit not in ("characters", "words"):
            raise ValueError(f"Unknown unit {unit!r}. Choose one of: characters, words.")
        self.trim_size = trim_size
        self.unit = unit

    def transform(self, text: str) -> str:
        return text[: self.trim_size] if self.unit == "characters" else " ".join(text.split()[: self.trim_size])


@external_store(group="datasets/transforms")
class RandomWordDrop(TextTransform):
    """Drop each word with a probability, but never all of them (random deletion of https://arxiv.org/abs/1901.11196).

    Args:
        probability: Chance of each word to be dropped, in [0, 1].
    """

    def __init__(self, probability: float = 0.1) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in [0, 1], got {probability}.")
        self.probability = probability

    def transform(self, text: str) -> str:
        words = text.split()
        if not words:
            return ""
        draws = torch.rand(len(words))
        kept = [word for word, draw in zip(words, draws.tolist(), strict=True) if draw >= self.probability]
        return " ".join(kept) if kept else words[int(draws.argmax())]


@external_store(group="datasets/transforms")
class RandomWordSwap(TextTransform):
    """Exchange two random words, several times (random swap of https://arxiv.org/abs/1901.11196).

    Args:
        num_swaps: How many times; a text of fewer than two words stays as it is.
    """

    def __init__(self, num_swaps: int = 1) -> None:
        if num_swaps < 0:
            raise ValueError(f"num_swaps cannot be negative, got {num_swaps}.")
        self.num_swaps = num_swaps

    def transform(self, text: str) -> str:
        words = text.split()
        for _ in range(self.num_swaps if len(words) > 1 else 0):
            first, second = torch.randperm(len(words))[:2].tolist()
            words[first], words[second] = words[second], words[first]
        return " ".join(words)
