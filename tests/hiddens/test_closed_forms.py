"""The issue's closed forms, in double precision."""

import math

import pytest
import torch

from mmkit.hiddens.gaussian import log_density, prior_log_density, sample
from mmkit.hiddens.losses import AMIMLoss, IWAELoss, SMIMLoss, VAELoss
from tests.hiddens.linear_gaussian import LinearGaussian


MODELS = pytest.mark.parametrize("model", [LinearGaussian(1.0, 0.5), LinearGaussian(-2.0, 1.5)], ids=["strong", "weak"])


def posterior(batch=5, positions=3, size=4, seed=0):
    """Any diagonal posterior, with a draw."""
    mean, logvar = torch.randn(2, batch, positions, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.manual_seed(seed)
    z, mask = sample(mean, logvar), torch.ones(batch, positions)
    log_prob = log_density(z, mean, logvar).sum(-1)
    return {"z": z, "z_mean": mean, "z_logvar": logvar, "z_log_prob": log_prob, "z_mask": mask, "z_mean_mask": mask}


def kl_of_issue(q):
    return 0.5 * (q["z_mean"] ** 2 + q["z_logvar"].exp() - 1 - q["z_logvar"])


# Diagonal posteriors


def test_kl_is_half_the_sum_of_squares():
    q = posterior()
    expected = kl_of_issue(q).sum(-1).mean()
    for term in ("loss", "kl"):
        torch.testing.assert_close(VAELoss()(q)[term], expected, rtol=1e-12, atol=0)


def test_latent_term_of_a_mim_is_half_the_kl_and_the_entropy():
    q = posterior()
    quarter = (q["z_mean"] ** 2 + q["z_logvar"].exp() + 1 + q["z_logvar"]) / 4
    expected = (quarter + 0.5 * math.log(2 * math.pi)).sum(-1).mean()
    entropy = 0.5 * (1 + math.log(2 * math.pi) + q["z_logvar"]).sum(-1).mean()
    torch.testing.assert_close(AMIMLoss()(q)["loss"], expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(0.5 * kl_of_issue(q).sum(-1).mean() + entropy, expected, rtol=1e-12, atol=0)


def test_terms_of_a_mim_differ_by_the_kl():
    q = posterior()
    terms = AMIMLoss()(q)
    torch.testing.assert_close(terms["log_q_z_given_x"] - terms["log_p_z"], kl_of_issue(q).sum(-1).mean())


def test_latent_term_of_a_mim_always_shrinks_the_variance():
    q = posterior(batch=1, positions=1)
    q["z_logvar"] = torch.linspace(-8, 3, 4, dtype=torch.float64).view(1, 1, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(AMIMLoss()(q)["loss"], q["z_logvar"])
    torch.testing.assert_close(gradient, (q["z_logvar"].exp() + 1) / 4, rtol=1e-12, atol=0)
    assert (gradient > 0).all()


@pytest.mark.parametrize("loss", [VAELoss, AMIMLoss])
def test_sampled_values_are_the_closed_forms_on_average(loss):
    one = posterior(batch=1, positions=1, size=3)
    mean, logvar = (one[name].expand(40_000, 1, 3) for name in ("z_mean", "z_logvar"))
    torch.manual_seed(0)
    z, mask = sample(mean, logvar), torch.ones(40_000, 1)
    drawn = {"z": z, "z_log_prob": log_density(z, mean, logvar).sum(-1), "z_mask": mask}
    assert loss(estimator="sampled")(drawn)["loss"].item() == pytest.approx(loss()(one)["loss"].item(), abs=0.03)


# The linear-Gaussian model, with its true posterior


@MODELS
def test_every_z_gives_the_log_likelihood(model):
    x = model.draw_x(50)
    q = model.posterior(x)
    for z in (q["z"], q["z"] + 1.0, torch.zeros_like(q["z"])):
        log_ratio = prior_log_density(z) - log_density(z, q["z_mean"], q["z_logvar"])
        log_w = model.log_likelihood(x)(z) + log_ratio.sum((1, 2))
        torch.testing.assert_close(log_w, model.log_p_x(x), rtol=1e-10, atol=1e-10)


@MODELS
@pytest.mark.parametrize("num_samples", [1, 7])
def test_iwae_is_the_log_likelihood_for_any_number_of_samples(model, num_samples):
    x = model.draw_x(50)
    terms = IWAELoss(num_samples=num_samples)(model.posterior(x), model.batch_data(x))
    torch.testing.assert_close(-terms["loss"], model.log_p_x(x).mean(), rtol=1e-10, atol=0)
    torch.testing.assert_close(terms["elbo"], model.log_p_x(x).mean(), rtol=1e-10, atol=0)


@MODELS
def test_negative_elbo_is_the_entropy_of_x(model):
    x = model.balanced_x(200)
    q = model.posterior(x)
    residual = (x - model.w * q["z_mean"].flatten()) ** 2 + model.w**2 * model.s**2 / model.v  # E (x - w z)² under q
    reconstruction = 0.5 * (math.log(2 * math.pi * model.s**2) + residual / model.s**2).mean()
    assert (reconstruction + VAELoss()(q)["loss"]).item() == pytest.approx(model.entropy_x, rel=1e-12)


@MODELS
def test_information_is_the_mean_kl(model):
    assert VAELoss()(model.posterior(model.balanced_x(200)))["kl"].item() == pytest.approx(model.information, rel=1e-10)


@MODELS
def test_a_mim_is_two_conditional_entropies_and_half_the_information(model):
    x = model.balanced_x(200)
    latent = AMIMLoss()(model.posterior(x))["loss"].item()
    expected = model.entropy_x_given_z + model.entropy_z_given_x + 0.5 * model.information
    assert model.entropy_x_given_z + latent == pytest.approx(expected, rel=1e-12)  # -E log p(x|z) = H(x|z) at the true posterior
    assert expected == pytest.approx(model.joint_entropy - 0.5 * model.information, rel=1e-12)


@MODELS
def test_symmetric_mim_is_the_joint_entropy(model):
    torch.manual_seed(0)
    x = model.draw_x(20_000)
    terms = SMIMLoss()(model.posterior(x), model.batch_data(x))
    for term in ("loss", "encoded", "decoded"):
        assert terms[term].item() == pytest.approx(model.joint_entropy, abs=0.03)


@MODELS
def test_symmetric_mim_without_the_marginal_is_less_by_half_the_entropy_of_x(model):
    torch.manual_seed(0)
    x = model.draw_x(20_000)
    terms = SMIMLoss(log_q_x="dropped")(model.posterior(x), model.batch_data(x))
    assert terms["loss"].item() == pytest.approx(model.joint_entropy - 0.5 * model.entropy_x, abs=0.03)


def wrong_posterior(model, x):
    """Too wide and shifted: bounds are strict."""
    q = model.posterior(x)
    return {**q, "z_mean": q["z_mean"] + 0.5, "z_logvar": q["z_logvar"] + 1.0}


def test_iwae_is_monotone_in_the_number_of_samples_and_below_the_likelihood():
    model, values = LinearGaussian(1.0, 0.5), []
    x = model.draw_x(4000)
    for num_samples in (1, 2, 4, 16, 64):
        torch.manual_seed(0)
        values.append(-IWAELoss(num_samples=num_samples)(wrong_posterior(model, x), model.batch_data(x))["loss"].item())
    assert values == sorted(values)
    assert values[0] < values[-1] - 0.3
    assert values[-1] == pytest.approx(model.log_p_x(x).mean().item(), abs=0.02)
    assert values[-1] < model.log_p_x(x).mean().item()


def test_iwae_of_one_sample_is_the_elbo():
    model = LinearGaussian(1.0, 0.5)
    x = model.draw_x(20_000)
    q = wrong_posterior(model, x)
    torch.manual_seed(0)
    bound = IWAELoss(num_samples=1)(q, model.batch_data(x))["loss"]
    residual = (x - model.w * q["z_mean"].flatten()) ** 2 + model.w**2 * q["z_logvar"].exp().flatten()
    reconstruction = 0.5 * (math.log(2 * math.pi * model.s**2) + residual / model.s**2).mean()
    assert bound.item() == pytest.approx((reconstruction + VAELoss()(q)["loss"]).item(), abs=0.05)


def test_symmetric_mim_of_disagreeing_models_is_above_the_joint_entropies():
    model = LinearGaussian(1.0, 0.5)
    torch.manual_seed(0)
    x = model.draw_x(20_000)
    pairs = model.generate_pairs

    def disagreeing_pairs(z):
        drawn = pairs(z)
        return {**drawn, "z_mean": drawn["z_mean"] + 0.5}

    q = model.posterior(x)
    data = {**model.batch_data(x), "generate_pairs": disagreeing_pairs}
    terms = SMIMLoss()({**q, "z_mean": q["z_mean"] + 0.5}, data)
    assert terms["loss"] > model.joint_entropy + 0.1
