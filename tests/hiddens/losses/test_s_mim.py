import math

import pytest
import torch

from mmkit.hiddens import HiddensError, HiddensPipeline
from mmkit.hiddens.losses import SMIMLoss
from tests.hiddens.linear_gaussian import LinearGaussian


NUM_PAIRS = 40_000
SHIFT = 3.0


def test_it_contains_the_tokens_loss_so_that_weight_must_be_zero():
    transform = {"q": {"cls_name": "cond_gaussian", "hidden_size": 4}}
    with pytest.raises(HiddensError, match="count the reconstruction twice"):
        HiddensPipeline(transform, {"mim": {"cls_name": "s_mim"}}, "z")
    HiddensPipeline(transform, {"mim": {"cls_name": "s_mim"}}, "z", tokens_loss_weight=0)


@pytest.mark.parametrize("arguments", [{"log_q_x": "constant"}, {"num_samples": 0}])
def test_wrong_options_are_refused(arguments):
    with pytest.raises(HiddensError, match=r"must be one of importance, dropped, and num_samples=\d at least 1"):
        SMIMLoss(**arguments)


@pytest.mark.parametrize("missing", ["log_likelihood", "generate_pairs"])
def test_it_needs_functions_of_the_model(missing):
    model = LinearGaussian(1.0, 0.5)
    x = model.draw_x(4)
    data = {name: function for name, function in model.batch_data(x).items() if name != missing}
    with pytest.raises(ValueError, match=rf"s_mim needs batch_data\['{missing}'\]"):
        SMIMLoss()(model.posterior(x), data)


def test_posteriors_of_varying_length_are_refused():
    model = LinearGaussian(1.0, 0.5)
    x = model.draw_x(4)

    def longer_pairs(z):
        pairs = model.generate_pairs(z)
        return {**pairs, "z_mean": pairs["z_mean"].expand(-1, 2, -1)}

    with pytest.raises(ValueError, match=r"shape \(4, 2, 1\).*as many positions for every example"):
        SMIMLoss()(model.posterior(x), {**model.batch_data(x), "generate_pairs": longer_pairs})


def bernoulli_pairs(theta):
    """x ~ Bernoulli(sigmoid(theta)), just as often as it is probable; q(z|x) = N(SHIFT x, 1)."""

    def generate_pairs(z_NSZ):
        num_ones = round(torch.sigmoid(theta).item() * len(z_NSZ))
        x_N = (torch.arange(len(z_NSZ)) < num_ones).double()
        log_p_N = -torch.nn.functional.binary_cross_entropy_with_logits(theta.expand_as(x_N), x_N, reduction="none")
        mean = (SHIFT * x_N).view(-1, 1, 1)
        return {"z_mean": mean, "z_logvar": torch.zeros_like(mean), "log_p_x_given_z": log_p_N, "log_likelihood": None}

    return generate_pairs


@pytest.mark.parametrize("score_function", [True, False])
def test_the_gradient_through_generated_x_is_that_of_the_expectation(score_function):
    p = 0.25
    theta = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64, requires_grad=True)
    named = {name: torch.zeros(NUM_PAIRS, 1, 1).double() for name in ("z_mean", "z_logvar")}
    named["z_mean_mask"] = torch.ones(NUM_PAIRS, 1)
    data = {"log_likelihood": lambda z, rows: torch.zeros(len(z)).double(), "generate_pairs": bernoulli_pairs(theta)}
    torch.manual_seed(0)
    loss = SMIMLoss(log_q_x="dropped", score_function=score_function)
    (gradient,) = torch.autograd.grad(loss(named, data)["loss"], theta)
    # E over x of f(x) = -½ [log p(x) + E log q(z|x)] + …, and half of the loss: ½ p (1 - p) (f(1) - f(0))
    difference = -0.5 * theta.item() + 0.25 * SHIFT**2
    assert gradient.item() == pytest.approx(0.5 * p * (1 - p) * difference if score_function else 0, abs=0.01)


def test_the_score_function_does_not_change_the_value():
    model = LinearGaussian(1.0, 0.5)
    x = model.draw_x(6)
    values = []
    for score_function in (True, False):
        torch.manual_seed(0)
        values.append(SMIMLoss(score_function=score_function)(model.posterior(x), model.batch_data(x))["loss"])
    torch.testing.assert_close(*values, rtol=0, atol=0)


def test_latents_of_the_prior_generate_and_only_they():
    model, seen = LinearGaussian(1.0, 0.5), []
    x = model.draw_x(5)

    def generate_pairs(z):
        seen.append(z)
        return model.generate_pairs(z)

    SMIMLoss()(model.posterior(x), {**model.batch_data(x), "generate_pairs": generate_pairs})
    assert [tuple(z.shape) for z in seen] == [(5, 1, 1)]
    assert not seen[0].requires_grad


@pytest.mark.parametrize("num_pairs", [2, 3])
def test_the_baseline_of_a_pair_is_the_mean_loss_of_the_others(num_pairs):
    theta = torch.zeros((), dtype=torch.float64, requires_grad=True)
    named = {name: torch.zeros(num_pairs, 1, 1).double() for name in ("z_mean", "z_logvar")}
    named["z_mean_mask"] = torch.ones(num_pairs, 1)
    drawn = []

    def generate_pairs(z_NSZ):
        drawn.append(z_NSZ)
        return bernoulli_pairs(theta)(z_NSZ)

    data = {"log_likelihood": lambda z, rows: torch.zeros(len(z)).double(), "generate_pairs": generate_pairs}
    torch.manual_seed(0)
    (gradient,) = torch.autograd.grad(SMIMLoss(log_q_x="dropped")(named, data)["loss"], theta)
    ones = round(num_pairs / 2)
    x = [1.0] * ones + [0.0] * (num_pairs - ones)
    log_2pi = math.log(2 * math.pi)
    losses = [
        0.5 * (math.log(2) + log_2pi + (z**2 + (z - SHIFT * x_n) ** 2) / 2)
        for z, x_n in zip(drawn[0].flatten().tolist(), x, strict=True)
    ]
    expected = 0.0
    for n, x_n in enumerate(x):
        others = losses[:n] + losses[n + 1 :]
        score = x_n - 0.5  # of a Bernoulli with p = 1/2, by its logit
        expected += (-0.5 + losses[n] - sum(others) / len(others)) * score / num_pairs
    assert gradient.item() == pytest.approx(0.5 * expected, rel=1e-9)
