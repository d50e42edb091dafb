"""What must not change a loss: the same examples twice, more padding, another order."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.hiddens import HiddensPipeline


H, Z = 4, 3
GAUSSIAN = {"cls_name": "cond_gaussian", "hidden_size": H, "latent_size": Z}
POOLED = {**GAUSSIAN, "inputs": {"hiddens": "pooled"}}
LOSSES = {
    "mim": {"cls_name": "a_mim"},
    "mim_sum": {"cls_name": "a_mim", "position_reduction": "sum", "loss_weight": 0.5},
    "mim_sampled": {"cls_name": "a_mim", "estimator": "sampled"},
    "vae": {"cls_name": "vae"},
    "vae_sum": {"cls_name": "vae", "position_reduction": "sum"},
    "vae_sampled": {"cls_name": "vae", "estimator": "sampled"},
    "free_bits": {"cls_name": "vae", "min_kl_value": 1.0},
    "free_bits_of_dimensions": {"cls_name": "vae", "min_kl_value": 0.4, "free_bits_unit": "dimension"},
}
EXPERTS = {"hidden_sizes": {"text": H, "rgb": H}, "latent_size": Z}
PIPELINES = {
    "positions": ({"q": GAUSSIAN}, LOSSES),
    "mean_pool": ({"pool": {"cls_name": "mean_pool"}, "q": POOLED}, LOSSES),
    "perceiver": (
        {"pool": {"cls_name": "perceiver", "hidden_size": H, "hidden_steps": 2, "num_attention_heads": 2}, "q": POOLED},
        LOSSES,
    ),
    "product": ({"q": {"cls_name": "product_of_experts", **EXPERTS}}, LOSSES),
    "mixture": ({"q": {"cls_name": "mixture_of_experts", **EXPERTS}}, {"vae": {"cls_name": "vae", "estimator": "bound"}}),
    "attribute": (
        {"q": GAUSSIAN, "cls": {"cls_name": "guided_cls", "hidden_size": Z, "num_classes": 3, "inputs": {"hiddens": "z"}}},
        {"cls": {"cls_name": "guided_cls_loss"}},
    ),
}


@cache
def pipeline(name):
    """In eval mode, where nothing is drawn."""
    transforms, losses = PIPELINES[name]
    given_names = [f"{modality}.{what}" for modality in ("text", "rgb") for what in ("hiddens", "hiddens_mask")]
    torch.manual_seed(0)
    return HiddensPipeline(transforms, losses, enc_output_name="q.z", available=given_names).double().eval()


def losses_of(name, batch):
    with torch.no_grad():
        outputs = pipeline(name).apply_hidden_transforms({key: value for key, value in batch.items() if key != "label"}, batch)
        return pipeline(name).apply_loss_transforms(outputs, batch)


def batch_of(seed, num_rows, num_positions):
    """Hidden states of two modalities: every example has at least one real position of the text, and may lack the image."""
    draw = torch.Generator().manual_seed(seed)
    batch = {"label": torch.randint(0, 3, (num_rows,), generator=draw)}
    for modality, least in (("text", 1), ("rgb", 0)):
        lengths_B1 = torch.randint(least, num_positions + 1, (num_rows, 1), generator=draw)
        hiddens_BSH = torch.randn(num_rows, num_positions, H, generator=draw, dtype=torch.float64)
        mask_BS = (torch.arange(num_positions) < lengths_B1).long()
        batch |= {f"{modality}.hiddens": hiddens_BSH, f"{modality}.hiddens_mask": mask_BS}
    return batch | {"hiddens": batch["text.hiddens"], "hiddens_mask": batch["text.hiddens_mask"]}


def changed(batch, rows=None, positions=None):
    """The batch with other rows, or other positions."""
    if rows is not None:
        batch = {key: value[rows] for key, value in batch.items()}
    if positions is not None:
        batch = {key: value if key == "label" else value[:, positions] for key, value in batch.items()}
    return batch


def padded(batch, number, value):
    """The batch with positions that are not real behind the others."""
    new = dict(batch)
    for key, tensor in batch.items():
        if key != "label":
            size = (len(tensor), number, *tensor.shape[2:])
            new[key] = torch.cat([tensor, tensor.new_full(size, 0 if key.endswith("mask") else value)], 1)
    return new


BATCHES = st.builds(batch_of, st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5))
EACH = pytest.mark.parametrize("name", PIPELINES)
FEW = settings(max_examples=12)


@EACH
@FEW
@given(batch=BATCHES, times=st.integers(2, 3))
def test_every_example_several_times_changes_nothing(name, batch, times):
    rows = torch.arange(len(batch["label"])).repeat(times)
    torch.testing.assert_close(losses_of(name, changed(batch, rows)), losses_of(name, batch))


@EACH
@FEW
@given(batch=BATCHES, number=st.integers(1, 4), value=st.sampled_from([0.0, 1e3, -7.0]))
def test_more_padding_changes_nothing(name, batch, number, value):
    torch.testing.assert_close(losses_of(name, padded(batch, number, value)), losses_of(name, batch))


@EACH
@FEW
@given(batch=BATCHES, seed=st.integers(0, 1000))
def test_another_order_of_examples_and_positions_changes_nothing(name, batch, seed):
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(batch["label"]), generator=draw)
    positions = torch.randperm(batch["hiddens"].shape[1], generator=draw)
    torch.testing.assert_close(losses_of(name, changed(batch, rows, positions)), losses_of(name, batch))


@EACH
def test_two_batches_of_one_size_average_to_the_loss_of_both(name):
    linear = {
        key for key in losses_of(name, batch_of(0, 2, 3)) if not key.startswith("free_bits_of_dimensions") and key != "loss"
    }
    one, two = batch_of(1, 3, 4), batch_of(2, 3, 4)
    both = losses_of(name, {key: torch.cat([one[key], two[key]]) for key in one})
    halves = [losses_of(name, batch) for batch in (one, two)]
    for key in linear:
        torch.testing.assert_close(
            both[key].double(), sum(half[key].double() for half in halves) / 2, msg=lambda text, key=key: f"{key}: {text}"
        )


@EACH
def test_gradients_of_padding_are_zero(name):
    batch = batch_of(3, 2, 3)
    hiddens = {key: tensor.requires_grad_() for key, tensor in padded(batch, 2, 5.0).items() if key.endswith("hiddens")}
    fixed = {key: tensor for key, tensor in padded(batch, 2, 5.0).items() if key not in hiddens}
    inputs = {key: tensor for key, tensor in (fixed | hiddens).items() if key != "label"}
    outputs = pipeline(name).apply_hidden_transforms(inputs, fixed)
    loss = pipeline(name).apply_loss_transforms(outputs, fixed)["loss"]
    gradients = torch.autograd.grad(loss, list(hiddens.values()), allow_unused=True)
    found = [gradient[:, 3:] for gradient in gradients if gradient is not None]
    assert found
    assert all(gradient.abs().max() == 0 for gradient in found)
