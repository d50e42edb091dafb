"""The tokenizer of CLIP, without any download."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from mmkit.conf.store import external_store
from mmkit.datasets.tokenizers.base import TextTokenizer, close_with_eos
from mmkit.datasets.tokenizers.bpe import END, START, BytePairEncoder, read_bpe
from mmkit.datasets.tokenizers.words import BPE_SUFFIX, WordMarks


BUNDLED_FILE = "bpe_simple_vocab_16e6.txt.gz"
_HOW = (
    f"Give `vocab_file`: a `{BUNDLED_FILE}` or a folder with `vocab.json` and `merges.txt` or `tokenizer.json`; "
    "or `pip install open_clip_torch`, which brings one."
)


def find_vocabulary(vocab_file: str | None) -> Path:
    """Path of the vocabulary: ``vocab_file`` if given, otherwise the file that the package open_clip brings.

    Raises:
        FileNotFoundError: If ``vocab_file`` does not exist, or none is given and open_clip is not installed.
    """
    if vocab_file is not None:
        path = Path(vocab_file).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"The CLIP vocabulary {vocab_file!r} does not exist. {_HOW}")
        return path
    package = find_spec("open_clip")  # finds the folder without importing the package
    if package is not None and package.origin is not None and (path := Path(package.origin).parent / BUNDLED_FILE).is_file():
        return path
    raise FileNotFoundError(f"CLIPTokenizer found no vocabulary. {_HOW}")


@external_store(group="datasets/tokenizers")
class CLIPTokenizer(TextTokenizer):
    """CLIP's lower-cased byte-pair encoding (https://arxiv.org/abs/2103.00020, §2.4).

    Gives the ids of OpenAI's and open_clip's tokenizers, with two differences: broken encodings and curly quotes are not
    repaired (their ftfy), and ``<|endoftext|>`` inside a text is text. Padding has id 0, which is also ``"!"``: models tell
    them apart by the attention mask or by the first end token. There is no mask token.

    Args:
        vocab_file: A merges file (``.txt`` or ``.txt.gz``), a ``tokenizer.json``, or a folder with either that or ``vocab.json``
            and ``merges.txt``. Default: the file that open_clip brings, if installed.
        max_length: See :class:`TextTokenizer`.
        padding: See :class:`TextTokenizer`.
        truncation: See :class:`TextTokenizer`.
        modality: See :class:`TextTokenizer`.

    Raises:
        FileNotFoundError: If there is no vocabulary; says how to get one.
    """

    artifact_arguments = ("vocab_file",)
    pad_id = 0
    mask_id = None
    bos_id: int
    eos_id: int

    def __init__(
        self,
        vocab_file: str | None = None,
        max_length: int | None = 77,
        padding: str = "longest",
        truncation: bool = True,
        modality: str = "text",
    ) -> None:
        super().__init__(max_length, padding, truncation, modality)
        path = find_vocabulary(vocab_file)
        vocabulary, merges = read_bpe(path)
        if START not in vocabulary or END not in vocabulary:
            raise ValueError(f"The vocabulary {path} is not CLIP's: it lacks {START!r} or {END!r}. Use HFTokenizer for it.")
        self._encoder = BytePairEncoder(vocabulary, merges)
        self.bos_id, self.eos_id = vocabulary[START], vocabulary[END]
        self.special_ids = (self.bos_id, self.eos_id)
        self.vocab_size = len(vocabulary)

    def encode(self, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
        return [close_with_eos(self._encoder.encode(text), self.bos_id, self.eos_id, max_length) for text in texts]

    def decode(self, token_ids: Sequence[int] | Tensor) -> str:
        """Text of the ids (L,) up to the first end token."""
        tokens = list(map(int, token_ids))
        end = tokens.index(self.eos_id) if self.eos_id in tokens else len(tokens)
        return self._encoder.decode(token for token in tokens[:end] if token != self.bos_id)

    def pieces(self) -> list[str]:
        return [self._encoder.symbols.get(index, "") for index in range(self.vocab_size)]

    def word_marks(self) -> WordMarks:
        return BPE_SUFFIX
