"""Scores of molecules against RDKit by hand."""

import numpy as np
import pytest

from projects.molmim.chemistry import canonical, generation_scores
from projects.molmim.known import KnownLines


Chem = pytest.importorskip("rdkit.Chem")


def test_a_molecule_has_one_canonical_string():
    assert canonical("OCC") == canonical("C(C)O") == Chem.MolToSmiles(Chem.MolFromSmiles("CCO"))


@pytest.mark.parametrize("smiles", ["", "C1CC", "c1cccc1", "C(C)(C)(C)(C)C", "CC(", "no"])
def test_what_is_no_molecule_has_none_and_nothing_is_printed(smiles, capfd):
    assert canonical(smiles) is None
    assert capfd.readouterr() == ("", "")


def test_scores_are_those_counted_by_hand():
    # Valid: ethanol twice, benzene, methane, water; not valid: an open ring, an empty string, five bonds of carbon.
    generated = ["OCC", "CCO", "c1ccccc1", "C1CC", "", "C", "O", "C(C)(C)(C)(C)C"]
    known = {"CCO", "c1ccccc1", "N"}
    scores = generation_scores(generated, lambda strings: [string in known for string in strings])
    assert scores == pytest.approx({"validity": 5 / 8, "uniqueness": 4 / 5, "novelty": 2 / 4})


def test_scores_of_nothing_valid_are_zero():
    for generated in ([], ["C1CC"]):
        assert generation_scores(generated, lambda strings: [False for _ in strings]) == {
            "validity": 0.0,
            "uniqueness": 0.0,
            "novelty": 0.0,
        }


def test_lines_of_a_file_are_known_and_no_others(tmp_path):
    rng = np.random.default_rng(0)
    lines = {"".join(rng.choice(list("CNO()=1"), 12)) for _ in range(3000)}
    (tmp_path / "train.txt").write_bytes("\r\n".join(sorted(lines)).encode())
    known = KnownLines(tmp_path / "train.txt")
    others = {line[:-1] for line in lines}
    assert len(known) == len(lines)
    assert all(known(lines))
    assert not any(known(others))
    assert known([]) == []
