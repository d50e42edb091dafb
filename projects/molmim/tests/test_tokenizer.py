import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from projects.molmim.tokenizer import MOSES_TOKENS, SMILESTokenizer, split_smiles


# As published: Schwaller et al. 2019, section 3.2.
PUBLISHED = re.compile(r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>|\*|\$|\%[0-9]{2}|[0-9])")


@given(st.text(alphabet="BrClNOSPFIbcnosp().=#-+\\/:~@?>*$%0123456789[]H"))
def test_tokens_are_those_of_the_published_pattern_and_nothing_is_lost(smiles):
    tokens = split_smiles(smiles)
    assert "".join(tokens) == smiles
    assert [token for token in tokens if PUBLISHED.fullmatch(token)] == PUBLISHED.findall(smiles)


@given(st.lists(st.sampled_from(MOSES_TOKENS), max_size=30))
def test_a_molecule_comes_back(tokens):
    smiles = "".join(tokens)
    tokenizer = SMILESTokenizer()
    assert tokenizer.decode(tokenizer(smiles)["text"]) == smiles


def test_atoms_of_two_letters_and_in_brackets_are_one_token_each():
    ids = SMILESTokenizer(tokens=["C", "Cl", "c", "[nH]"])(["CCl", "c[nH]Br"])["text"]
    assert torch.equal(ids, torch.tensor([[1, 5, 6, 2, 0], [1, 7, 8, 4, 2]]))


def test_a_cut_molecule_keeps_its_end_token():
    assert SMILESTokenizer(max_length=4)("CCCCC")["text"].tolist() == [1, 6, 6, 2]


def test_ids_fit_the_vocabulary():
    tokenizer = SMILESTokenizer()
    assert int(tokenizer("".join(MOSES_TOKENS))["text"].max()) == tokenizer.vocab_size - 1 == 28


@pytest.mark.parametrize("tokens", [["C", "C"], ["C", "xx"], ["CC"]])
def test_tokens_that_are_none_or_repeated_are_refused(tokens):
    with pytest.raises(ValueError, match=r"Every token is an atom, bond, bracket or ring of SMILES, once; (C|xx|CC) are not"):
        SMILESTokenizer(tokens=tokens)
