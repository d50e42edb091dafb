"""Vocabularies of SentencePiece, trained from text files into mmkit's cache."""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkit.datasets.cache import cache_root, locked, sha256_of, written_at_once
from mmkit.extras import require


MODEL_TYPES = ("unigram", "bpe")
MASK_PIECE = "<mask>"
_DEFAULTS = {
    "pad_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "unk_id": 3,
    "control_symbols": [MASK_PIECE],  # gets id 4
    "character_coverage": 0.9995,
    "input_sentence_size": 1_000_000,
    "max_sentence_length": 2**20,  # longer lines are left out; sentencepiece's own 4192 bytes leave out whole documents
    "num_threads": 1,  # the same file gives the same vocabulary on every machine
}
_SET_HERE = ("input", "model_prefix", "model_writer", "vocab_size", "model_type", "sentence_iterator", "minloglevel")


def train_sentencepiece(
    files: str | Sequence[str],
    vocab_size: int,
    model_type: str = "unigram",
    settings: Mapping[str, Any] | None = None,
    cache_dir: str | None = None,
) -> str:
    """Train a vocabulary (https://arxiv.org/abs/1808.06226) unless the cache has it, and return the path of its model file.

    Its folder in the cache is named by a digest of the files' contents and of all settings. Only one process at a time trains
    it, the others wait for it, and a training that is killed leaves nothing behind.

    Args:
        files: Text files, one text a line.
        vocab_size: Number of ids: 0 padding, 1 begin, 2 end, 3 unknown, 4 mask, then the pieces.
        model_type: ``"unigram"`` (https://arxiv.org/abs/1804.10959) or ``"bpe"``.
        settings: Further options of SentencePiece's trainer, e.g. ``{"byte_fallback": True, "normalization_rule_name":
            "identity"}``. A million lines are read unless ``input_sentence_size`` says otherwise.
        cache_dir: Default: ``sentencepiece`` in mmkit's data folder.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: There is no text, ``vocab_size`` does not fit it (the message says what does), or a setting is unknown.
    """
    paths = [Path(file).expanduser() for file in ([files] if isinstance(files, str) else files)]
    options = _options(vocab_size, model_type, settings or {})
    _check_files(paths)
    digest = hashlib.sha256(json.dumps([[sha256_of(path) for path in paths], options], sort_keys=True).encode()).hexdigest()[:32]
    folder = (Path(cache_dir).expanduser() if cache_dir else cache_root() / "sentencepiece") / digest
    if not (folder / "tokenizer.model").is_file():  # a folder appears as a whole
        with locked(folder):
            if not (folder / "tokenizer.model").is_file():
                model = _train(paths, options)
                with written_at_once(folder) as partial:
                    (partial / "tokenizer.model").write_bytes(model)
                    (partial / "settings.json").write_text(
                        json.dumps({"files": [str(path) for path in paths], **options}, indent=1)
                    )
    return str(folder / "tokenizer.model")


def _options(vocab_size: int, model_type: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    if model_type not in MODEL_TYPES:
        raise ValueError(f"Unknown model_type {model_type!r}. Choose one of: {', '.join(MODEL_TYPES)}.")
    if taken := sorted(set(settings) & set(_SET_HERE)):
        raise ValueError(f"The training settings cannot have {', '.join(taken)}: mmkit sets what is read and written itself.")
    return {**_DEFAULTS, **settings, "vocab_size": vocab_size, "model_type": model_type}


def _check_files(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {str(path)!r} to train a SentencePiece vocabulary on.")
        if "," in str(path):  # sentencepiece would take it for two files
            raise ValueError(f"SentencePiece cannot read a file whose path has a comma: {str(path)!r}. Rename it.")
    if not any(path.stat().st_size for path in paths):
        raise ValueError(f"There is no text to train a SentencePiece vocabulary on: {', '.join(map(str, paths))} is empty.")


def _train(paths: Sequence[Path], options: Mapping[str, Any]) -> bytes:
    sentencepiece = require("sentencepiece", extra="text", needed_by="train_sentencepiece")
    sentencepiece.set_random_generator_seed(0)  # which lines are read of a large file
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=[str(path) for path in paths], model_writer=model, minloglevel=2, **options
        )
    except (RuntimeError, OSError, KeyError) as error:
        raise ValueError(f"SentencePiece cannot train on {', '.join(map(str, paths))}: {_reason(error)}") from error
    return model.getvalue()


def _reason(error: Exception) -> str:
    """What sentencepiece says, without the place in its own source."""
    text = str(error)
    if "smaller than required_chars" in text and (found := re.search(r"(\d+) vs (\d+)", text)):
        return f"vocab_size={found[1]} is too small, characters alone need {found[2]} ids. Raise it, or lower character_coverage."
    if "sentences_.empty()" in text:
        return "there is no text in it."
    return re.sub(r"^.*?\.cc\(\d+\) (\[.*?\] )?", "", text).strip()
