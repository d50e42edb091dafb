"""Whether strings are molecules, and how many of them are different and new."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmkit.extras import require


def molecule(smiles: str) -> Any:
    """The molecule (``rdkit.Chem.Mol``) of a SMILES string; None if there is none, which an empty string has not, either."""
    chem = require("rdkit.Chem", extra="chem", needed_by="MoleculeReport")
    with require("rdkit.rdBase", extra="chem", needed_by="MoleculeReport").BlockLogs():  # a line for every invalid string
        return chem.MolFromSmiles(smiles) if smiles else None


def canonical(smiles: str) -> str | None:
    """The one SMILES string that RDKit writes for this molecule, however it was written; None if it is not valid.

    Valid is what can be parsed, with valences and aromatic rings that are possible.

    Example:
        >>> canonical("OCC"), canonical("C1CC"), canonical("")
        ('CCO', None, None)
    """
    found = molecule(smiles)
    return None if found is None else require("rdkit.Chem", extra="chem", needed_by="MoleculeReport").MolToSmiles(found)


def generation_scores(smiles: Sequence[str], is_known: Callable[[Iterable[str]], Sequence[bool]]) -> dict[str, float]:
    """How good generated strings are as molecules, by the measures of MOSES (https://arxiv.org/abs/1811.12823, section 4).

    Args:
        smiles: What was generated.
        is_known: Which of several canonical strings are in the training set.

    Returns:
        ``validity``: share of the strings that are molecules; ``uniqueness``: share of different ones among these; ``novelty``:
        share of these different ones that the training set does not have. 0 where there is nothing to take a share of.
    """
    valid = [found for found in map(canonical, smiles) if found is not None]
    different = sorted(set(valid))
    return {
        "validity": _share(len(valid), len(smiles)),
        "uniqueness": _share(len(different), len(valid)),
        "novelty": 1 - _share(sum(is_known(different)), len(different)) if different else 0.0,
    }


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
