"""Any tokenizer of Hugging Face transformers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.extras import require, resolve_location


# A folder with a `tokenizer.json` alone does not say which token pads and which masks; these are the names in use.
PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>")
MASK_TOKENS = ("[MASK]", "<mask>", "<|mask|>")
# transformers marks "no limit known" by a number near 1e30.
NO_LIMIT = 10**9


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
        return self.tokenizer.decode([token for token in map(int, token_ids) if token not in special])


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
