"""Any tokenizer of Hugging Face transformers."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.datasets.tokenizers.words import BPE_SUFFIX, BYTE_LEVEL, SENTENCEPIECE, WordMarks
from mmkit.extras import require, resolve_location


# A folder with a `tokenizer.json` alone does not say which token pads and which masks; these are the names in use.
PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>")
UNKNOWN_TOKENS = ("[UNK]", "<unk>", "<|unk|>")
MASK_TOKENS = ("[MASK]", "<mask>", "<|mask|>")
# transformers marks "no limit known" by a number near 1e30.
NO_LIMIT = 10**9
_PARTS = ("normalizer", "pre_tokenizer", "decoder")  # what may write white space as a mark


@external_store(group="datasets/tokenizers")
class HFTokenizer(TextTokenizer):
    """Tokenize with a tokenizer of Hugging Face transformers.

    Args:
        model_name_or_path: Name on the hub, ``pkg://package/folder``, or a local folder, for which
            a ``tokenizer.json`` is enough.
        max_length: Most tokens of a text; default: what the tokenizer itself states, if anything.
        padding: See :class:`TextTokenizer`. Padding is on the right, whatever the tokenizer prefers.
        truncation: See :class:`TextTokenizer`.
        modality: See :class:`TextTokenizer`.
        tokenizer_kwargs: Passed to ``AutoTokenizer.from_pretrained``, e.g. ``{"revision": "main"}``.

    Raises:
        FileNotFoundError: If ``model_name_or_path`` is a path and does not exist.
        ValueError: If the tokenizer has neither a padding nor an end token.
    """

    artifact_arguments = ("model_name_or_path",)

    def __init__(
        self,
        model_name_or_path: str,
        max_length: int | None = None,
        padding: str = "longest",
        truncation: bool = True,
        modality: str = "text",
        tokenizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.tokenizer = load_hf_tokenizer(model_name_or_path, tokenizer_kwargs or {})
        stated = self.tokenizer.model_max_length
        limit = max_length if max_length is not None or stated > NO_LIMIT else stated
        super().__init__(limit, padding, truncation, modality, self.tokenizer.num_special_tokens_to_add())
        added = self.tokenizer.added_tokens_decoder
        self._ids_by_name = {str(token): index for index, token in added.items()}
        self.bos_id = _first(self.tokenizer.bos_token_id, self.tokenizer.cls_token_id)
        self.eos_id = _first(self.tokenizer.eos_token_id, self.tokenizer.sep_token_id)
        self.mask_id = _first(self.tokenizer.mask_token_id, *map(self._ids_by_name.get, MASK_TOKENS))
        self.unknown_id = _first(self.tokenizer.unk_token_id, *map(self._ids_by_name.get, UNKNOWN_TOKENS))
        pad_id = _first(self.tokenizer.pad_token_id, *map(self._ids_by_name.get, PAD_TOKENS), self.eos_id)
        if pad_id is None:
            raise ValueError(
                f"The tokenizer {model_name_or_path!r} has no padding token. Name one: tokenizer_kwargs={{'pad_token': '<pad>'}}."
            )
        self.pad_id = pad_id
        special = {index for index, token in added.items() if token.special} | set(self.tokenizer.all_special_ids)
        self.special_ids = tuple(sorted(special))
        self.vocab_size = len(self.tokenizer)

    def encode(self, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
        if not texts:
            return []
        # verbose: transformers would print a warning of its own about texts that are too long
        limits = {"truncation": max_length is not None, "max_length": max_length, "padding": False, "verbose": False}
        return self.tokenizer(list(texts), return_attention_mask=False, return_token_type_ids=False, **limits)["input_ids"]

    def decode(self, token_ids: Sequence[int] | Tensor) -> str:
        special = set(self.special_ids)
        return self.tokenizer.decode([token for token in map(int, token_ids) if token not in special and token < self.vocab_size])

    def pieces(self) -> list[str]:
        by_id = {index: piece for piece, index in self.tokenizer.get_vocab().items()}
        return [by_id.get(index, "") for index in range(self.vocab_size)]

    def word_marks(self) -> WordMarks:
        """How the pieces tell words apart: as the tokenizer's own parts say.

        Raises:
            ValueError: If its pieces do not tell where words begin.
        """
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        marks = marks_of_backend(json.loads(backend.to_str())) if backend is not None else SENTENCEPIECE
        if marks is None:
            name = type(self.tokenizer).__name__
            raise ValueError(f"The pieces of this {name} do not tell where words begin, so it cannot be used for whole words.")
        return marks


def marks_of_backend(backend: dict[str, Any]) -> WordMarks | None:
    """How words are told apart, from the description of a tokenizer (``tokenizer.json``); None if they are not."""
    model = backend["model"]
    kinds = set(_kinds({key: value for key, value in backend.items() if key != "model"}))
    if model.get("type") == "WordPiece":
        return WordMarks(continuation=model["continuing_subword_prefix"])
    if model.get("type") == "WordLevel":
        return WordMarks(continuation="\0")  # nothing continues a word
    if model.get("end_of_word_suffix"):
        return BPE_SUFFIX._replace(end=model["end_of_word_suffix"])
    if "ByteLevel" in kinds:
        return BYTE_LEVEL
    is_spaced = "Metaspace" in kinds or any("▁" in json.dumps(backend.get(part), ensure_ascii=False) for part in _PARTS)
    return SENTENCEPIECE if is_spaced else None


def _kinds(part: Any) -> Iterator[str]:
    """The types of all parts of a tokenizer."""
    if isinstance(part, dict):
        yield str(part.get("type"))
    items = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for item in items:
        yield from _kinds(item)


def load_hf_tokenizer(model_name_or_path: str, tokenizer_kwargs: dict[str, Any]) -> Any:
    """Load a tokenizer from a local folder or by its name.

    Raises:
        FileNotFoundError: If a path is given (it starts with ``/``, ``.`` or ``~``) and there is no such folder.
    """
    model_name_or_path = resolve_location(model_name_or_path)
    path = Path(model_name_or_path).expanduser()
    if model_name_or_path.startswith((os.sep, ".", "~")) and not path.is_dir():
        raise FileNotFoundError(f"HFTokenizer: there is no folder {model_name_or_path!r}.")
    transformers = require("transformers", extra="text", needed_by="HFTokenizer")
    return transformers.AutoTokenizer.from_pretrained(str(path) if path.is_dir() else model_name_or_path, **tokenizer_kwargs)


def _first(*candidates: int | None) -> int | None:
    return next((candidate for candidate in candidates if candidate is not None), None)
