"""Byte-pair encoding as CLIP uses it (https://arxiv.org/abs/1508.07909 on bytes; https://arxiv.org/abs/2103.00020, §2.4)."""

import gzip
import html
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path


START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# CLIP's merges file lists more merges than its vocabulary of 49,408 has ids for: 256 bytes, each also as end of a word, and 2
# special tokens stand beside the merges.
MAX_MERGES = 49_408 - 2 * 256 - 2
MAX_CACHED_WORDS = 2**16

Vocabulary = dict[str, int]
Merge = tuple[str, str]


def byte_symbols() -> list[str]:
    """A printable character for every byte: itself where printable, otherwise one from U+0100 on. Index is the byte."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def normalize_text(text: str) -> str:
    """Undo HTML escapes, compose accents (NFC), collapse white space and lower the case."""
    return " ".join(unicodedata.normalize("NFC", html.unescape(html.unescape(text))).split()).lower()


def _character_class(character: str) -> str:
    if character.isspace():
        return "space"
    if character.isalpha():  # exactly Unicode's categories L*
        return "letter"
    return "number" if unicodedata.category(character).startswith("N") else "other"


def split_words(text: str) -> Iterator[str]:
    """Split into English contractions, runs of letters, single digits and runs of anything else but space.

    Example:
        >>> list(split_words("it's 20 o'clock!?"))
        ['it', "'s", '2', '0', 'o', "'", 'clock', '!?']
    """
    start = 0
    while start < len(text):
        kind = _character_class(text[start])
        contraction = next((c for c in CONTRACTIONS if text.startswith(c, start)), None) if text[start] == "'" else None
        end = start + len(contraction or " ")
        while contraction is None and kind in ("letter", "other") and end < len(text) and _character_class(text[end]) == kind:
            end += 1
        if kind != "space":
            yield text[start:end]
        start = end


class BytePairEncoder:
    """Encode words by merging the pair of neighbours that was learned first until no learned pair is left.

    Args:
        vocabulary: Id of every symbol.
        merges: Learned pairs, the first learned first.
    """

    def __init__(self, vocabulary: Vocabulary, merges: Iterable[Merge]) -> None:
        self.vocabulary = vocabulary
        self.symbols = {index: symbol for symbol, index in vocabulary.items()}
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._byte_symbols = byte_symbols()
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, without special tokens."""
        return [token for word in split_words(normalize_text(text)) for token in self._encode_word(word)]

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of the ids; white space is where a word ended."""
        byte_of = {symbol: byte for byte, symbol in enumerate(self._byte_symbols)}
        words = "".join(self.symbols[token] for token in token_ids).split(END_OF_WORD)
        return " ".join(bytes(byte_of[symbol] for symbol in word).decode("utf-8", "replace") for word in words).strip()

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cache:
            if len(self._cache) >= MAX_CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = [self.vocabulary[symbol] for symbol in self._merge(word)]
        return self._cache[word]

    def _merge(self, word: str) -> list[str]:
        parts = [self._byte_symbols[byte] for byte in word.encode("utf-8", "surrogatepass")]
        parts[-1] += END_OF_WORD
        never = len(self._rank)
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._rank.get(pair, never))
            if best not in self._rank:
                break
            parts = _join_pair(parts, best)
        return parts


def _join_pair(parts: Sequence[str], pair: Merge) -> list[str]:
    joined: list[str] = []
    index = 0
    while index < len(parts):
        found = tuple(parts[index : index + 2]) == pair
        joined.append("".join(pair) if found else parts[index])
        index += 2 if found else 1
    return joined


def read_bpe(path: Path) -> tuple[Vocabulary, list[Merge]]:
    """Read a vocabulary and its merges.

    Args:
        path: A merges file (``.txt`` or ``.txt.gz``, as published with CLIP), a ``tokenizer.json``, or a directory with
            ``tokenizer.json`` or with ``vocab.json`` and ``merges.txt``.

    Raises:
        ValueError: If the directory holds neither, or if the file is of another kind.
    """
    if path.is_dir():
        if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
            return json.loads((path / "vocab.json").read_text("utf-8")), _read_merges((path / "merges.txt").read_text("utf-8"))
        if not (path / "tokenizer.json").is_file():
            raise ValueError(f"{path} holds no CLIP vocabulary: neither `vocab.json` with `merges.txt` nor `tokenizer.json`.")
        path = path / "tokenizer.json"
    if path.suffix == ".json":
        return _read_tokenizer_json(path)
    if not path.name.endswith((".txt", ".txt.gz")):
        raise ValueError(f"{path} is no CLIP vocabulary: expected a `.txt`, `.txt.gz` or `tokenizer.json` file, or a directory.")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        merges = _read_merges(file.read())[:MAX_MERGES]
    return _vocabulary_of_merges(merges), merges


def _read_merges(text: str) -> list[Merge]:
    pairs = (line.split() for line in text.splitlines() if not line.startswith(("#version", '"bpe_simple_vocab')))
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


def _read_tokenizer_json(path: Path) -> tuple[Vocabulary, list[Merge]]:
    model = json.loads(path.read_text("utf-8")).get("model", {})
    if "vocab" not in model or "merges" not in model:
        raise ValueError(f"{path} describes no byte-pair encoding; use HFTokenizer for other tokenizers.")
    pairs = (merge.split() if isinstance(merge, str) else merge for merge in model["merges"])
    return model["vocab"], [(first, second) for first, second in pairs]


def _vocabulary_of_merges(merges: Sequence[Merge]) -> Vocabulary:
    # CLIP numbers the bytes that print as themselves first, then the others.
    symbols = sorted(byte_symbols(), key=lambda symbol: (ord(symbol) >= 256, ord(symbol)))
    symbols += [symbol + END_OF_WORD for symbol in symbols]
    symbols += [first + second for first, second in merges] + [START, END]
    return {symbol: index for index, symbol in enumerate(symbols)}
