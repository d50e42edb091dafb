import pytest
import torch

from mmkit.hiddens import HiddensPipeline
from mmkit.hiddens.transforms import GuidedCls, MeanPool, PerceiverBottleneck


def padded(x, mask, extra):
    shape = (len(x), extra, x.shape[2])
    return torch.cat([x, torch.full(shape, 7.0)], dim=1), torch.cat([mask, torch.zeros(len(x), extra)], dim=1)


def inputs(batch=3, positions=4, size=8):
    x = torch.randn(batch, positions, size, generator=torch.Generator().manual_seed(0))
    return x, (torch.arange(positions) < torch.tensor([[4], [2], [1]])).float()


def test_mean_pool_averages_the_real_positions():
    x, mask = inputs()
    pooled = MeanPool()({"hiddens": x, "hiddens_mask": mask})["pooled"]
    expected = [torch.stack([x[b, s] for s in range(4) if mask[b, s]]).mean(0) for b in range(3)]
    torch.testing.assert_close(pooled, torch.stack(expected).unsqueeze(1))


@pytest.mark.parametrize("transform", [MeanPool(), PerceiverBottleneck(8, hidden_steps=3)], ids=["mean_pool", "perceiver"])
def test_padding_changes_nothing(transform):
    x, mask = inputs()
    longer, longer_mask = padded(x, mask, 3)
    pooled = transform({"hiddens": x, "hiddens_mask": mask})["pooled"]
    torch.testing.assert_close(transform({"hiddens": longer, "hiddens_mask": longer_mask})["pooled"], pooled)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_perceiver_makes_a_fixed_number_of_real_positions(steps):
    pipeline = HiddensPipeline(
        transform={
            "pool": {"cls_name": "perceiver", "hidden_size": 8, "hidden_steps": steps, "num_attention_heads": 2},
            "q": {"cls_name": "cond_gaussian", "hidden_size": 8, "latent_size": 2, "inputs": {"hiddens": "pooled"}},
        },
        enc_output_name="z",
    )
    x, mask = inputs()
    outputs = pipeline.apply_hidden_transforms({"hiddens": x, "hiddens_mask": mask})
    assert outputs["enc_output"].shape == (3, steps, 2)
    assert outputs["enc_output_mask"].tolist() == [[True] * steps] * 3
    assert pipeline.prior_shape() == (steps, 2)


def test_a_perceiver_reads_hidden_states_of_another_size():
    x, mask = inputs(size=6)
    outputs = PerceiverBottleneck(8, hidden_steps=2, input_size=6)({"hiddens": x, "hiddens_mask": mask})
    assert outputs["pooled"].shape == (3, 2, 8)


@pytest.mark.parametrize("mlp_size", [None, 16])
def test_guided_cls_scores_the_mean_over_real_positions(mlp_size):
    x, mask = inputs()
    transform = GuidedCls(8, num_classes=5, attribute="ring", mlp_size=mlp_size)
    logits = transform({"hiddens": x, "hiddens_mask": mask})["ring_logits"]
    means = MeanPool()({"hiddens": x, "hiddens_mask": mask})["pooled"][:, 0]
    torch.testing.assert_close(logits, transform.scores(means))
    assert logits.shape == (3, 5)
