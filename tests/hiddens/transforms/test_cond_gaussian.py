import copy

import pytest
import torch
from torch.distributions import Normal

from mmkit.hiddens import HiddensError
from mmkit.hiddens.transforms import CondGaussian


def hiddens(dtype=torch.float32):
    return {"hiddens": torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)).to(dtype)}


def test_outputs_have_the_declared_names_and_shapes():
    transform = CondGaussian(8, latent_size=4)
    outputs = transform(hiddens())
    assert tuple(outputs) == transform.output_names
    assert [tuple(outputs[name].shape) for name in outputs] == [(3, 5, 4), (3, 5, 4), (3, 5, 4), (3, 5)]


def test_latent_size_is_the_hidden_size_by_default():
    assert CondGaussian(8).latent_size == 8
    assert CondGaussian(8)(hiddens())["z"].shape == (3, 5, 8)


def test_density_is_that_of_the_draw():
    outputs = CondGaussian(8, 4).double()(hiddens(torch.float64))
    oracle = Normal(outputs["z_mean"], torch.exp(0.5 * outputs["z_logvar"])).log_prob(outputs["z"]).sum(-1)
    torch.testing.assert_close(outputs["z_log_prob"], oracle, rtol=1e-12, atol=1e-12)


def test_training_draws_and_evaluation_gives_the_mean():
    transform = CondGaussian(8, 4)
    first, second = transform(hiddens()), transform(hiddens())
    assert (first["z"] != second["z"]).all()
    outputs = transform.eval()(hiddens())
    torch.testing.assert_close(outputs["z"], outputs["z_mean"], rtol=0, atol=0)


def test_evaluation_draws_if_asked_to():
    transform = CondGaussian(8, 4, sample_in_eval=True).eval()
    assert (transform(hiddens())["z"] != transform(hiddens())["z"]).all()


def test_log_variances_keep_to_their_bounds_whatever_comes_in():
    transform = CondGaussian(8, 4, min_logvar=-3.0, max_logvar=1.0)
    logvar = transform({"hiddens": 1000 * hiddens()["hiddens"]})["z_logvar"]
    assert logvar.min().item() == pytest.approx(-3, abs=1e-4)
    assert logvar.max().item() == pytest.approx(1, abs=1e-4)


def test_bounds_that_cross_are_refused():
    with pytest.raises(HiddensError, match=r"min_logvar=1\.0 must be below max_logvar=-1\.0"):
        CondGaussian(8, min_logvar=1.0, max_logvar=-1.0)


def test_densities_are_of_single_precision_under_autocast():
    transform = CondGaussian(8, 4)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = transform(hiddens(torch.bfloat16))
    assert {tensor.dtype for tensor in outputs.values()} == {torch.float32}


def test_a_model_of_half_precision_gets_latents_of_half_precision_and_densities_of_single_precision():
    outputs = CondGaussian(8, 4).to(torch.bfloat16)(hiddens(torch.bfloat16))
    assert {name: tensor.dtype for name, tensor in outputs.items()} == {
        "z": torch.bfloat16,
        "z_mean": torch.float32,
        "z_logvar": torch.float32,
        "z_log_prob": torch.float32,
    }


def test_it_is_built_and_run_on_the_meta_device():
    with torch.device("meta"):
        outputs = CondGaussian(8, 4)({"hiddens": torch.empty(3, 5, 8)})
    assert {tensor.device.type for tensor in outputs.values()} == {"meta"}


def test_copies_and_restored_states_compute_the_same():
    transform = CondGaussian(8, 4).eval()
    restored = CondGaussian(8, 4).eval()
    restored.load_state_dict(transform.state_dict())
    for other in (restored, copy.deepcopy(transform)):
        torch.testing.assert_close(other(hiddens()), transform(hiddens()), rtol=0, atol=0)


def test_it_compiles_without_breaks():
    transform = CondGaussian(8, 4).eval()
    compiled = torch.compile(transform, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(hiddens()), transform(hiddens()))
