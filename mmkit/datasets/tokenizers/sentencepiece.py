"""Tokenizers of SentencePiece: a model file, or one trained from text on first use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.tokenizers.base import TextTokenizer
from mmkit.datasets.tokenizers.sentencepiece_training import train_sentencepiece
from mmkit.datasets.tokenizers.words import SENTENCEPIECE, SENTENCEPIECE_SPACE, SENTENCEPIECE_SUFFIX, WordMarks
from mmkit.extras import require


# Names of special pieces in use. SentencePiece itself only knows ids of the first three, and any of them may be absent.
_SPECIAL_PIECES = {
    "pad_id": ("<pad>", "[PAD]"),
    "bos_id": ("<s>", "[CLS]", "<bos>"),
    "eos_id": ("</s>", "[SEP]", "<eos>"),
    "mask_id": ("<mask>", "[MASK]"),
}


@external_store(group="datasets/tokenizers")
class SentencePieceTokenizer(TextTokenizer):
    """Tokenize with SentencePiece (https://arxiv.org/abs/1808.06226).

    Padding, begin, end or mask that the model lacks get ids behind its own, in this order; so ``vocab_size`` may be up to 4
    larger than the model's.

    Args:
        model: A model file (``.model``). Archives of tasks take it along.
        train_on: Instead of ``model``: a text file or several, one text a line, to train a model on. It is trained once and kept
            in mmkit's cache; see :func:`train_sentencepiece`.
        vocab_size: For ``train_on``: number of ids.
        model_type: For ``train_on``: ``"unigram"`` (default) or ``"bpe"``.
        training_settings: For ``train_on``: further options of SentencePiece's trainer, e.g. ``{"byte_fallback": True}``.
        max_length: See :class:`TextTokenizer`.
        padding: See :class:`TextTokenizer`.
        truncation: See :class:`TextTokenizer`.
        modality: See :class:`TextTokenizer`.
        add_bos: Begin every text with the begin token.
        add_eos: End every text with the end token.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If neither or both of ``model`` and ``train_on`` are given, the file is no model, or it cannot be trained.
    """

    artifact_arguments = ("model",)
    pad_id: int
    bos_id: int
    eos_id: int
    mask_id: int

    def __init__(
        self,
        model: str | None = None,
        train_on: str | list[str] | None = None,
        vocab_size: int | None = None,
        model_type: str | None = None,
        training_settings: dict[str, Any] | None = None,
        max_length: int | None = None,
        padding: str = "longest",
        truncation: bool = True,
        modality: str = "text",
        add_bos: bool = True,
        add_eos: bool = True,
    ) -> None:
        super().__init__(max_length, padding, truncation, modality, int(add_bos) + int(add_eos))
        training = {"vocab_size": vocab_size, "model_type": model_type, "training_settings": training_settings}
        self.model = _model_file(model, train_on, _given(training))
        self._processor = load_sentencepiece(self.model)
        self._num_pieces: int = self._processor.vocab_size()
        self.unknown_id = self._processor.unk_id()
        self.vocab_size = self._set_special_ids()
        kinds = (self._processor.is_control, self._processor.is_unknown, self._processor.is_unused)
        special = {index for index in range(self._num_pieces) if any(is_kind(index) for is_kind in kinds)}
        self.special_ids = tuple(sorted({*special, self.pad_id, self.bos_id, self.eos_id, self.mask_id}))
        self.add_bos, self.add_eos = add_bos, add_eos

    @staticmethod
    def archived_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What an archive has in place of arguments for training: the model that was trained."""
        training = {name: arguments.get(name) for name in ("vocab_size", "model_type", "training_settings")}
        if arguments.get("train_on") is None:
            return {}
        return {"model": _model_file(None, arguments["train_on"], _given(training)), "train_on": None, **dict.fromkeys(training)}

    def _set_special_ids(self) -> int:
        """Find the special ids, or give them ids behind the pieces; returns how many ids there are."""
        processor, num_ids = self._processor, self._num_pieces
        found = {"pad_id": processor.pad_id(), "bos_id": processor.bos_id(), "eos_id": processor.eos_id(), "mask_id": -1}
        for name, index in found.items():
            named = (processor.piece_to_id(piece) for piece in _SPECIAL_PIECES[name])
            index = next((i for i in (index, *named) if i not in (-1, self.unknown_id)), num_ids)
            num_ids += index == num_ids
            setattr(self, name, index)
        return num_ids

    def encode(self, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
        room = None if max_length is None else max_length - self.add_bos - self.add_eos
        first, last = [self.bos_id] * self.add_bos, [self.eos_id] * self.add_eos
        return [[*first, *body[:room], *last] for body in self._processor.encode(list(texts), num_threads=1)]

    def decode(self, token_ids: Sequence[int] | Tensor) -> str:
        """Text of the ids (L,); special tokens, unknown ones included, and ids behind the vocabulary are left out."""
        special = set(self.special_ids)
        return self._processor.decode([i for i in map(int, token_ids) if 0 <= i < self._num_pieces and i not in special])

    def pieces(self) -> list[str]:
        return [*map(self._piece, range(self._num_pieces)), *[""] * (self.vocab_size - self._num_pieces)]

    def word_marks(self) -> WordMarks:
        pieces = [piece for piece in self.pieces() if len(piece) > 1]
        num_prefixed = sum(piece.startswith(SENTENCEPIECE_SPACE) for piece in pieces)
        num_suffixed = sum(piece.endswith(SENTENCEPIECE_SPACE) for piece in pieces)
        return SENTENCEPIECE_SUFFIX if num_suffixed > num_prefixed else SENTENCEPIECE  # treat_whitespace_as_suffix is an option

    def _piece(self, index: int) -> str:
        piece = self._processor.id_to_piece(index)
        # With byte_fallback, what the pieces cannot write is written in bytes, <0x0A> for one.
        return chr(int(piece[3:-1], 16)) if self._processor.is_byte(index) and piece < "<0x80>" else piece


def _model_file(model: str | None, train_on: str | list[str] | None, training: dict[str, Any]) -> str:
    if (model is None) == (train_on is None):
        given = "neither is given" if model is None else "both are given"
        raise ValueError(f"SentencePieceTokenizer needs either a `model` file or `train_on`, a file to train one on; {given}.")
    if model is not None:
        if training:
            raise ValueError(f"SentencePieceTokenizer: {', '.join(training)} is for training; the model {model!r} is trained.")
        return model
    if "vocab_size" not in training:
        raise ValueError("SentencePieceTokenizer: training needs a `vocab_size`, e.g. 8000.")
    settings = training.pop("training_settings", None)
    return train_sentencepiece(train_on or "", **training, settings=settings)


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def load_sentencepiece(model: str) -> Any:
    """Read a model file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is none.
    """
    path = Path(model).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no SentencePiece model {model!r}. Give `model` a file, or `train_on` to train one.")
    sentencepiece = require("sentencepiece", extra="text", needed_by="SentencePieceTokenizer")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError as error:
        raise ValueError(f"The file {model!r} is no SentencePiece model.") from error
