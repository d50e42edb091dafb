"""Cutting texts so that every piece has at most so many tokens, with any tokenizer."""

import hashlib
import json
import unicodedata
from typing import Protocol

import numpy as np

from mmkit.datasets.text.documents import Documents
from mmkit.errors import UsageError


# One character may become many: U+FDFA, the longest, has 3 bytes, and 33 in its compatibility decomposition.
_MOST_GROWTH = 11
_PREFIX = 2  # SentencePiece puts a space before a text
_ENOUGH = 0.85  # of the limit; a piece that is so full is good
_AIM = 0.96  # of the limit: texts differ from place to place
_STEPS = 4  # tokenizations after which any piece that fits is good
_SPACES = " \n\t"
_NOT_OF_IDS = ("max_length", "padding", "truncation", "modality")  # settings without influence on `encode(texts, None)`
_PROBES = (
    "The quick brown fox; jumps over 13 lazy dogs!  (A_b-c/d)\t'e' \"f\"",
    "Zażółć gęślą jaźń. Ça va? Größe: 5 µm ½ ﬁ",
    "Съешь ещё этих мягких французских булок. 我能吞下玻璃而不伤身体。 私はガラス 나는 유리 صلى أنا 👩‍🔬",
    "CC(=O)Oc1ccccc1C(=O)O def f(x): return x**2 <s> [MASK] </s>",
)
_NUM_SAMPLES = 32  # documents that take part in a tokenizer's digest


class Encoder(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, texts: list[str], max_length: int | None) -> list[list[int]]:
        """Ids of each text, special tokens included, uncut for ``None``."""
        ...


class TokenLimit:
    """The most tokens that a text may have, special tokens included.

    Args:
        max_tokens: Their number.
        tokenizer: Gives the tokens. No text may have more of them than bytes, in its compatibility decomposition (NFKD),
            special tokens apart; that holds for byte-level, BPE, WordPiece and SentencePiece tokenizers with any of Unicode's
            normal forms.

    Raises:
        UsageError: There is no room for text.
    """

    def __init__(self, max_tokens: int, tokenizer: Encoder) -> None:
        self.max_tokens, self.tokenizer = max_tokens, tokenizer
        self.name = f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}"
        self._num_added = self.count("")
        self._characters_per_token = 4.0  # a guess, corrected by every count
        if max_tokens <= self._num_added:
            raise UsageError(f"seq_length={max_tokens} leaves no room beside the {self._num_added} special tokens of a text.")

    def count(self, text: str) -> int:
        """Number of a text's tokens."""
        return len(self.tokenizer.encode([text], None)[0])

    def digest(self, documents: Documents) -> str:
        """Digest of how the tokenizer treats some texts, of these documents too: a vocabulary may change under its name."""
        num = min(_NUM_SAMPLES, len(documents))
        texts = [*_PROBES, *(documents.text(len(documents) * i // num)[:1000] for i in range(num))]
        ids = [[int(token) for token in tokens] for tokens in self.tokenizer.encode(texts, None)]
        plain = {
            name: value for name, value in sorted(vars(self.tokenizer).items()) if isinstance(value, str | int | float | None)
        }
        settings = {name: value for name, value in plain.items() if name not in _NOT_OF_IDS}
        return hashlib.blake2b(json.dumps([self.name, settings, ids]).encode(), digest_size=16).hexdigest()

    def suspects(self, documents: Documents) -> np.ndarray:
        """Numbers of the documents that could have too many tokens, as their bytes tell; the others need no tokenizer."""
        room = self.max_tokens - self._num_added - _PREFIX
        sizes = documents.record_sizes()
        if documents.is_ascii:
            return np.flatnonzero(sizes > room)
        within_reach = np.flatnonzero(sizes > room // _MOST_GROWTH)
        return np.array([i for i in within_reach if _most_tokens(documents.text(int(i))) > room], np.int64)

    def cuts(self, text: str, whole: bool = True) -> list[int]:
        """Where to cut a text so that no piece has too many tokens; before a space where there is one.

        Args:
            text: A text.
            whole: Whether to cut all of it, or only at the end of the first piece.

        Raises:
            UsageError: A single character has too many tokens.
        """
        cuts, begin = [], 0
        while (end := self._end_of_piece(text, begin)) < len(text):
            cuts.append(begin := end)
            if not whole:
                break
        return cuts

    def _end_of_piece(self, text: str, begin: int) -> int:
        """The end of a piece that starts at ``begin``: a search by interpolation, then by halving."""
        room = self.max_tokens - self._num_added
        fits, fails = begin, len(text) + 1
        end = begin + int(room * self._characters_per_token)
        for step in range(100):
            end = _good_cut(text, begin, fits, min(max(end, fits + 1), fails - 1))
            if end == fits:
                return fits
            num = self.count(text[begin:end])
            self._characters_per_token = max((end - begin) / max(num - self._num_added, 1), 0.1)
            fits, fails = (end, fails) if num <= self.max_tokens else (fits, end)
            is_full = fits == end and num >= _ENOUGH * self.max_tokens
            if fits == len(text) or is_full or (fits > begin and (step >= _STEPS or fails - fits <= 1)):
                return fits
            if fails - begin <= 1:
                break
            end = begin + int(room * _AIM * self._characters_per_token) if step < _STEPS else (fits + fails) // 2
        num = self.count(text[begin : begin + 1])
        raise UsageError(f"seq_length={self.max_tokens} does not hold the character {text[begin]!r}, which has {num} tokens.")


def _good_cut(text: str, begin: int, least: int, end: int) -> int:
    """A place up to ``end`` where a cut does little harm: before a space not far away, else not before an accent.

    Args:
        text: A text.
        begin: Where the piece begins.
        least: A place that is known to do; a better one is after it, or it is returned.
        end: The last place.
    """
    if end >= len(text):
        return end
    near = max(end - (end - begin) // 4, least + 1)
    if (space := max(text.rfind(space, near, end + 1) for space in _SPACES)) >= near:
        return space
    if begin < least and text[least] in _SPACES and least >= end - (end - begin) // 4:
        return least
    cut = end
    while cut > least and (unicodedata.combining(text[cut]) or text[cut] in "\u200d\ufe0f" or text[cut - 1] == "\u200d"):
        cut -= 1
    return cut if cut > begin else end


def _most_tokens(text: str) -> int:
    if text.isascii():
        return len(text)
    return max(len(form.encode(errors="surrogatepass")) for form in (text, unicodedata.normalize("NFKD", text)))
