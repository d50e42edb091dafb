"""The norms and dropouts of a Mega layer."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from mmkit.models.mega.dropout import Dropout, FeatureDropout, dropout_layer
from mmkit.models.mega.norms import SequenceNorm


KINDS = ("layernorm", "scalenorm", "rmsnorm", "batchnorm", "syncbatchnorm")
MASK = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()


def features(seed=0, dtype=torch.float64):
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("kind", ["scalenorm", "rmsnorm"])
def test_scale_and_rms_norm_divide_by_the_root_mean_square(kind, affine):
    norm = SequenceNorm(kind, 4, eps=1e-3, affine=affine).double()
    scale = 1.0
    if affine:
        parameter = next(norm.parameters())
        nn.init.normal_(parameter)
        scale = parameter.detach().numpy()
    x = features()
    expected = x.numpy() * scale / np.sqrt(np.mean(x.numpy() ** 2, axis=-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_the_weights_are_those_of_the_port(kind):
    statistics = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    scale = {"scalenorm": ["norm.scalar"], "rmsnorm": ["norm.weight"]}.get(kind, ["norm.weight", "norm.bias"])
    assert list(SequenceNorm(kind, 4).state_dict()) == scale + statistics * kind.endswith("batchnorm")
    assert not list(SequenceNorm(kind, 4, affine=False).parameters())


@pytest.mark.parametrize("kind", ["batchnorm", "syncbatchnorm"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_batch_norm_counts_real_positions_only(kind, affine):
    ours, torchs = SequenceNorm(kind, 4, affine=affine).double(), nn.BatchNorm1d(4, affine=affine).double()
    if affine:
        for name, parameter in torchs.named_parameters():
            nn.init.normal_(parameter)
            getattr(ours.norm, name).data.copy_(parameter)
    for seed in range(2):
        x = features(seed).requires_grad_()
        x_of_torch = x.detach()[MASK].requires_grad_()
        y, expected = ours(x, MASK)[MASK], torchs(x_of_torch)
        torch.testing.assert_close(y, expected)
        probe = torch.randn_like(expected)
        (y * probe).sum().backward()
        (expected * probe).sum().backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad[MASK], x_of_torch.grad)
        assert not x.grad[~MASK].any()
    torch.testing.assert_close(dict(ours.norm.named_buffers()), dict(torchs.named_buffers()))
    torch.testing.assert_close(ours.eval()(x, MASK)[MASK], torchs.eval()(x_of_torch))


def test_batch_norm_without_padding_is_that_of_torch():
    ours, torchs = SequenceNorm("batchnorm", 4).double(), nn.BatchNorm1d(4).double()
    torch.testing.assert_close(ours(features()), torchs(features().flatten(0, 1)).view(3, 5, 4))
    torch.testing.assert_close(dict(ours.norm.named_buffers()), dict(torchs.named_buffers()))


def test_what_lies_in_pads_changes_no_statistic():
    norm, other = SequenceNorm("batchnorm", 4).double(), SequenceNorm("batchnorm", 4).double()
    x = features()
    torch.testing.assert_close(norm(x, MASK)[MASK], other(x.masked_fill(~MASK[..., None], 1e6), MASK)[MASK])
    torch.testing.assert_close(norm.state_dict(), other.state_dict())


def test_a_batch_of_nothing_but_pads_leaves_the_running_averages():
    norm = SequenceNorm("batchnorm", 4).double()
    before = norm.norm.running_var.clone()
    assert norm(features(), torch.zeros(3, 5, dtype=torch.bool)).isfinite().all()
    torch.testing.assert_close(norm.norm.running_var, before)


@pytest.mark.parametrize("kind", KINDS)
def test_norms_give_the_dtype_they_get(kind):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert SequenceNorm(kind, 4).to(dtype)(features(dtype=dtype), MASK).dtype == dtype


@pytest.mark.parametrize("kind", ["scalenorm", "rmsnorm", "batchnorm"])
def test_squares_do_not_overflow_in_half_precision(kind):
    assert SequenceNorm(kind, 4).half()((1000 * features()).half(), MASK).isfinite().all()


def _on_a_rank(rank, file, results):
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    norm, rows = SequenceNorm("syncbatchnorm", 4).double(), slice(0, 1) if rank == 0 else slice(1, 3)
    x = features()[rows].requires_grad_()
    y = norm(x, MASK[rows])
    (y * features(1)[rows]).sum().backward()
    torch.save([y.detach(), x.grad, norm.state_dict()], f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_statistics_of_two_ranks_are_those_of_one(tmp_path):
    torch.multiprocessing.spawn(_on_a_rank, (tmp_path / "store", tmp_path), nprocs=2)
    of_rank = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    norm, x = SequenceNorm("batchnorm", 4).double(), features().requires_grad_()
    y = norm(x, MASK)
    (y * features(1)).sum().backward()
    torch.testing.assert_close(torch.cat([each[0] for each in of_rank]), y.detach())
    torch.testing.assert_close(torch.cat([each[1] for each in of_rank]), x.grad)
    for each in of_rank:
        torch.testing.assert_close(dict(each[2]), dict(norm.state_dict()))


def test_feature_dropout_drops_a_feature_at_all_positions():
    layer = dropout_layer(0.5, of_features=True)
    assert isinstance(layer, FeatureDropout)
    y = layer(torch.ones(4, 6, 32))
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(layer.eval()(y), y)


def test_plain_dropout_drops_single_values():
    layer = dropout_layer(0.5, of_features=False)
    assert isinstance(layer, Dropout)
    y = layer(torch.ones(4, 6, 32))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(y, y[:, :1].expand_as(y))
    assert torch.equal(layer.eval()(y), y)


@pytest.mark.parametrize("kind", ["scalenorm", "rmsnorm"])
def test_the_gradient_of_zeros_is_finite(kind):
    norm, x = SequenceNorm(kind, 4).double(), torch.zeros(1, 2, 4, dtype=torch.float64, requires_grad=True)
    norm(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full_like(x, 1e-5**-0.5))
