"""SMILES strings as sequences of atoms, bonds and brackets."""

import re
from collections.abc import Sequence

from torch import Tensor

from mmkit.conf import external_store
from mmkit.datasets.tokenizers import TextTokenizer
from mmkit.datasets.tokenizers.base import close_with_eos


#: The pattern of Schwaller et al. 2019, Molecular Transformer (https://arxiv.org/abs/1811.02633, section 3.2).
TOKEN = re.compile(r"\[[^\]]+]|Br?|Cl?|[NOSPFIbcnosp().=#\-+\\/:~@?>*$0-9]|%[0-9]{2}")
_TOKEN_OR_OTHER = re.compile(f"{TOKEN.pattern}|.", re.DOTALL)
#: All that occurs in MOSES, the most frequent first.
MOSES_TOKENS = (
    *("c", "C", "(", ")", "1", "O", "2", "N", "n", "=", "3", "F", "-", "S", "s", "o", "Cl", "[nH]", "#", "4", "Br", "5", "6"),
    "[H]",
)


@external_store(group="datasets/tokenizers")
class SMILESTokenizer(TextTokenizer):
    """One token an atom, bond, branch or ring. Ids: 0 padding, 1 begin, 2 end, 3 mask, 4 anything else, then the tokens.

    ``Cl``, ``Br`` and atoms in brackets are one token each, so that no half of them can be written.

    Args:
        tokens: The known tokens; their order gives their ids, from 5 on. Default: those of MOSES.
        max_length: See :class:`~mmkit.datasets.tokenizers.TextTokenizer`.
        padding: See there.
        truncation: See there.
        modality: See there.

    Example:
        >>> tokenizer = SMILESTokenizer()
        >>> tokenizer.decode(tokenizer("Clc1c[nH]cc1Br")["text"])
        'Clc1c[nH]cc1Br'
    """

    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    mask_id: int = 3
    unknown_id: int = 4
    special_ids = (0, 1, 2, 3, 4)

    def __init__(
        self,
        tokens: list[str] | None = None,
        max_length: int | None = None,
        padding: str = "longest",
        truncation: bool = True,
        modality: str = "text",
    ) -> None:
        super().__init__(max_length, padding, truncation, modality)
        self.tokens = list(tokens or MOSES_TOKENS)
        if others := sorted({token for token in self.tokens if not TOKEN.fullmatch(token) or self.tokens.count(token) > 1}):
            raise ValueError(f"Every token is an atom, bond, bracket or ring of SMILES, once; {', '.join(others)} are not.")
        self.vocab_size = len(self.special_ids) + len(self.tokens)
        self._id_of = {token: index for index, token in enumerate(self.tokens, len(self.special_ids))}

    def encode(self, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
        bodies = ([self._id_of.get(token, self.unknown_id) for token in split_smiles(text)] for text in texts)
        return [close_with_eos(body, self.bos_id, self.eos_id, max_length) for body in bodies]

    def decode(self, token_ids: Sequence[int] | Tensor) -> str:
        """SMILES of the ids (L,); special tokens, unknown ones included, are left out."""
        first = len(self.special_ids)
        return "".join(self.tokens[token - first] for token in map(int, token_ids) if token >= first)


def split_smiles(smiles: str) -> list[str]:
    """The tokens of a SMILES string; a character that is none of SMILES is a token of its own.

    Example:
        >>> split_smiles("ClC[nH]%10?!")
        ['Cl', 'C', '[nH]', '%10', '?', '!']
    """
    return _TOKEN_OR_OTHER.findall(smiles)
