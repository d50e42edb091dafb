import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from mmkit.hiddens.gaussian import (
    entropy,
    kl_from_prior,
    log_density,
    mixture_log_density,
    mixture_log_weights,
    over_batch,
    over_positions,
    prior_log_density,
    product_with_prior,
    sample,
    smooth_bounds,
)


def gaussians(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean, logvar = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return mean, logvar, Normal(mean, torch.exp(0.5 * logvar))


def test_density_and_entropy_are_those_of_torch_distributions():
    mean, logvar, oracle = gaussians(3, 4)
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).view(3, 4)
    torch.testing.assert_close(log_density(x, mean, logvar), oracle.log_prob(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropy(logvar), oracle.entropy(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(prior_log_density(x), Normal(0.0, 1.0).log_prob(x), rtol=1e-12, atol=1e-12)


def test_kl_is_that_of_torch_distributions_and_of_the_issue():
    mean, logvar, oracle = gaussians(3, 4)
    kl = kl_from_prior(mean, logvar)
    torch.testing.assert_close(kl, kl_divergence(oracle, Normal(torch.zeros(3, 4).double(), 1.0)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(kl, 0.5 * (mean**2 + logvar.exp() - 1 - logvar), rtol=1e-10, atol=1e-12)


@given(st.floats(-20, 20), st.floats(-20, 5))
def test_kl_is_never_negative(mean, logvar):
    assert kl_from_prior(torch.tensor(mean), torch.tensor(logvar)) >= 0


def test_small_kls_keep_their_digits_in_single_precision():
    logvar = torch.tensor([1e-3])
    exact = 0.5 * (math.expm1(1e-3) - 1e-3)
    assert kl_from_prior(torch.zeros(1), logvar).item() == pytest.approx(exact, rel=1e-3)


def test_minimising_the_kl_drives_it_to_zero():
    mean, logvar = torch.full((4,), 0.1, requires_grad=True), torch.full((4,), 0.01, requires_grad=True)
    optimizer = torch.optim.SGD([mean, logvar], lr=0.1)
    before = kl_from_prior(mean, logvar).sum().item()
    for _ in range(200):
        optimizer.zero_grad()
        kl = kl_from_prior(mean, logvar).sum()
        kl.backward()
        optimizer.step()
    assert kl.item() < 1e-6 < before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype):
    mean, logvar, _ = gaussians(64)
    x = sample(mean, logvar)
    for function, arguments in [(log_density, (x, mean, logvar)), (kl_from_prior, (mean, logvar)), (prior_log_density, (x,))]:
        rounded = [argument.to(dtype) for argument in arguments]
        result = function(*rounded)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), function(*[each.double() for each in rounded]), rtol=1e-4, atol=1e-5)


def test_autocast_does_not_lower_the_precision():
    mean, logvar, _ = gaussians(1000)
    exact = kl_from_prior(mean, logvar).sum()
    with torch.autocast("cpu", torch.bfloat16):
        kl = kl_from_prior(mean.float(), logvar.float()).sum()
    torch.testing.assert_close(kl.double(), exact, rtol=1e-5, atol=0)


def test_samples_have_the_mean_and_variance_asked_for():
    mean, logvar = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 2 * math.log(3)])
    x = sample(mean.expand(40_000, 2), logvar.expand(40_000, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(x.std(0), torch.tensor([1.0, 3.0]), rtol=0.02, atol=0)


def test_sampling_is_differentiable_in_mean_and_variance():
    mean, logvar = torch.zeros(5, requires_grad=True), torch.zeros(5, requires_grad=True)
    x = sample(mean, logvar, torch.Generator().manual_seed(0))
    x.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(5))
    torch.testing.assert_close(logvar.grad, 0.5 * x.detach())  # d(e^{½ l} ε)/dl at l = 0


def test_sampling_repeats_with_the_generator():
    mean = torch.zeros(3, 2)
    torch.manual_seed(3)
    from_global = sample(mean, mean)
    torch.testing.assert_close(from_global, sample(mean, mean, torch.Generator().manual_seed(3)), rtol=0, atol=0)


@given(st.floats(-50, 50), st.sampled_from([(-6.0, None), (None, 2.0), (-6.0, 2.0), (-1.0, 1.0), (None, None)]))
def test_bounds_hold_and_leave_the_inside_alone(x, bounds):
    lower, upper = bounds
    y = smooth_bounds(torch.tensor(x, dtype=torch.float64), lower, upper).item()
    assert lower is None or y >= lower
    assert upper is None or y <= upper
    margin = min(x - (-math.inf if lower is None else lower), (math.inf if upper is None else upper) - x)
    if margin > 0:
        assert abs(y - x) <= math.exp(-margin) + 1e-8


@pytest.mark.parametrize("bounds", [(-6.0, None), (None, 2.0), (-6.0, 2.0)])
def test_bounds_are_increasing_and_never_stop_the_gradient(bounds):
    x = torch.linspace(-15, 10, 500, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(smooth_bounds(x, *bounds).sum(), x)
    assert (gradient > 0).all()
    assert (gradient <= 1 + 1e-12).all()


def test_gradient_near_the_lower_bound_is_as_documented():
    x = torch.linspace(-12, 0, 50, dtype=torch.float64, requires_grad=True)
    y = smooth_bounds(x, lower=-6.0)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, 1 - torch.exp(-6.0 - y))


def test_product_with_prior_is_the_normalised_product_of_densities():
    mean, logvar, oracle = gaussians(3, 1, 1, 1)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    density = torch.exp(Normal(0.0, 1.0).log_prob(grid) + oracle.log_prob(grid).sum(0).flatten())
    density = density / torch.trapezoid(density, grid)
    expected_mean = torch.trapezoid(density * grid, grid)
    expected_variance = torch.trapezoid(density * (grid - expected_mean) ** 2, grid)
    product_mean, product_logvar = product_with_prior(mean, logvar, torch.ones(3, 1, 1))
    assert product_mean.item() == pytest.approx(expected_mean.item(), abs=1e-9)
    assert product_logvar.exp().item() == pytest.approx(expected_variance.item(), abs=1e-9)


def test_masked_experts_of_a_product_change_nothing_whatever_they_say():
    mean, logvar, _ = gaussians(2, 3, 1, 4)
    mean[1], logvar[1] = torch.nan, torch.inf
    mask = torch.tensor([1, 0]).view(2, 1, 1).expand(2, 3, 1)
    torch.testing.assert_close(product_with_prior(mean, logvar, mask), product_with_prior(mean[:1], logvar[:1], mask[:1]))


def test_product_without_experts_is_the_prior():
    mean, logvar, _ = gaussians(2, 3, 1, 4)
    product_mean, product_logvar = product_with_prior(mean, logvar, torch.zeros(2, 3, 1))
    assert not product_mean.any()
    assert not product_logvar.any()


def test_product_has_finite_gradients_where_experts_are_missing():
    mean, logvar, _ = gaussians(2, 3, 1, 4)
    mean.requires_grad_(), logvar.requires_grad_()
    product_mean, product_logvar = product_with_prior(mean, logvar, torch.tensor([[1, 0, 0], [1, 1, 0]]).unsqueeze(-1))
    (product_mean.sum() + product_logvar.sum()).backward()
    for tensor in (mean, logvar):
        assert tensor.grad.isfinite().all()
        assert not tensor.grad[0, 1:].any()
        assert not tensor.grad[1, 2:].any()


def test_mixture_density_is_the_mean_of_the_experts_densities():
    mean, logvar, oracle = gaussians(3, 2, 5, 4)
    z = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask = torch.tensor([[1, 1], [1, 0], [0, 1]]).unsqueeze(-1).expand(3, 2, 5)
    densities = np.exp(oracle.log_prob(z).sum(-1).numpy())
    expected = np.log((densities * mask.numpy()).sum(0) / mask.numpy().sum(0))
    result = mixture_log_density(z, mean, logvar, mixture_log_weights(mask, torch.float64))
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-10)


def test_reductions_are_those_of_a_loop_over_rows():
    x = torch.arange(12.0).view(3, 4)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]])
    rows = [[value for value, real in zip(*row, strict=True) if real] for row in zip(x.tolist(), mask.tolist(), strict=True)]
    assert over_positions(x, mask).tolist() == [sum(row) / len(row) for row in rows]
    assert over_positions(x, mask, "sum").tolist() == [sum(row) for row in rows]


def test_rows_without_positions_are_left_out_of_the_mean_over_the_batch():
    mask = torch.tensor([[1, 0], [0, 0], [1, 1]])
    assert over_batch(torch.tensor([1.0, 50.0, 3.0]), mask) == 2
    assert over_batch(torch.tensor([1.0, 50.0, 3.0]), torch.zeros(3, 2)) == 0


def test_infinite_values_at_padding_are_not_summed():
    x = torch.tensor([[1.0, torch.inf], [torch.nan, 2.0]])
    assert over_positions(x, torch.tensor([[1, 0], [0, 1]])).tolist() == [1, 2]


def test_everything_works_on_the_meta_device():
    mean = torch.empty(2, 3, 1, 4, device="meta")
    mask = torch.empty(2, 3, 1, device="meta", dtype=torch.bool)
    assert product_with_prior(mean, mean, mask)[0].shape == (3, 1, 4)
    assert mixture_log_density(mean[0], mean, mean, mixture_log_weights(mask)).shape == (3, 1)
    assert sample(mean, smooth_bounds(mean, -6.0, 2.0)).shape == mean.shape
