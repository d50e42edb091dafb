"""Rows of modalities and rows of the batch, against a naive search."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkit.models.encoder_decoder.row_matching import batch_ids, matched_rows, take_rows


ids = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=7)


@given(ids, ids)
def test_each_row_gets_the_row_of_its_id_and_equal_ids_go_in_order(batch, modality):
    rows_B, found_B = matched_rows(torch.tensor(batch), torch.tensor(modality))
    for b, one in enumerate(batch):
        having = [m for m, other in enumerate(modality) if other == one]
        assert bool(found_B[b]) == bool(having)
        if having:
            occurrence = batch[:b].count(one)
            assert int(rows_B[b]) == (having[occurrence] if occurrence < len(having) else having[0])


def test_rows_that_are_not_there_are_zeros_whatever_stands_elsewhere():
    x_MSH = torch.tensor([[[1.0]], [[float("nan")]]])
    rows_B, found_B = matched_rows(torch.tensor([[0, 5], [0, 1]]), torch.tensor([[0, 1], [0, 2]]))
    x_BSH, mask_BS = take_rows(x_MSH, torch.ones(2, 1, dtype=torch.bool), rows_B, found_B)
    assert x_BSH.tolist() == [[[0.0]], [[1.0]]]
    assert mask_BS.tolist() == [[False], [True]]


def test_the_rows_of_a_batch_are_those_of_the_target_or_all_examples():
    batch = {"dataset_index": torch.tensor([0, 0]), "example_index": torch.tensor([4, 5])}
    assert batch_ids(batch, "text") is None
    batch["example_ids"] = {"rgb": torch.tensor([[0, 4]])}
    assert batch_ids(batch, "text").tolist() == [[0, 4], [0, 5]]
    batch["example_ids"]["text"] = torch.tensor([[0, 5]])
    assert batch_ids(batch, "text").tolist() == [[0, 5]]
