"""Mega as an encoder of ids and of features."""

import pytest
import torch

from mmkit.models import MegaEncoder
from mmkit.tasks.parameter_groups import weight_decay_groups


SMALL = {
    "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 8, "nffn_hidden_size": 8, "ema_projection_size": 2,
    "shared_representation_size": 4,
}  # fmt: skip


def encoder(**arguments):
    torch.manual_seed(0)
    return MegaEncoder(vocab_size=13, **{**SMALL, **arguments}).eval()


def ids_and_mask():
    ids = torch.randint(3, 13, (2, 6), generator=torch.Generator().manual_seed(0))
    return {"text": ids, "text_attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])}


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "eos", "none"])
def test_padding_changes_no_embedding(pooling):
    model, batch = encoder(pooling=pooling), ids_and_mask()
    [whole] = model(batch)
    [alone] = model({"text": batch["text"][1:, :3]})
    assert whole.shape == ((2, 6, 8) if pooling == "none" else (2, 8))
    torch.testing.assert_close(whole[1:, :3] if pooling == "none" else whole[1:], alone, rtol=1e-4, atol=1e-5)


def test_features_are_projected_and_no_embedding_table_waits_for_a_gradient():
    model = encoder(input_dim=3, modality="audio").train()
    [x] = model({"audio": torch.randn(2, 6, 3)})
    x.sum().backward()
    assert x.shape == (2, 8)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for gradient_checkpointing in (False, True):
        model = encoder(gradient_checkpointing=gradient_checkpointing).train()
        torch.manual_seed(1)
        model(ids_and_mask())[0].square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_parameters_of_the_moving_average_do_not_decay():
    model = encoder()
    decayed, _ = weight_decay_groups(model, 0.1)
    names = {name for name, p in model.named_parameters() if any(p is other for other in decayed["params"])}
    exempt = ("ema_gate", "qk_weight", "qk_bias", "rel_pos_bias", "norm")
    assert names
    assert not [name for name in names if any(part in name for part in exempt)]


def test_settings_that_cannot_work_and_absent_modalities_are_refused():
    with pytest.raises(ValueError, match="Unknown pooling 'max'"):
        encoder(pooling="max")
    with pytest.raises(ValueError, match="shared_representation_size"):
        encoder(shared_representation_size=3)
    with pytest.raises(ValueError, match="The encoder reads 'text', but the batch has: rgb"):
        encoder()({"rgb": torch.zeros(1)})
