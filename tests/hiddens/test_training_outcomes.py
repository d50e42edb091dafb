"""What training comes to, through the pipeline that models use."""

import math

import pytest
import torch
from torch import nn

from mmkit.hiddens import HiddensPipeline
from mmkit.hiddens.losses import VAELoss
from tests.hiddens.linear_gaussian import LinearGaussian


MODEL = LinearGaussian(1.0, 0.5)


class Autoencoder(nn.Module):
    """Encodes x as it is; decodes N(w z, exp(logvar)) with learned w and logvar."""

    def __init__(self, loss, tokens_loss_weight=1.0):
        super().__init__()
        transform = {"q": {"cls_name": "cond_gaussian", "hidden_size": 1}}
        self.hiddens = HiddensPipeline(transform, {"latent": loss}, "z", tokens_loss_weight)
        self.w, self.logvar = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(0.0))

    def log_likelihood(self, x_B, z_BSZ):
        error_B = x_B - self.w * z_BSZ[:, 0, 0]
        return -0.5 * (math.log(2 * math.pi) + self.logvar + error_B.square() * torch.exp(-self.logvar))

    def losses(self, x_B):
        outputs = self.hiddens.apply_hidden_transforms({"hiddens": x_B.view(-1, 1, 1)})
        tokens_loss = -self.log_likelihood(x_B, outputs["enc_output"]).mean()
        data = {"log_likelihood": lambda z, rows: self.log_likelihood(x_B[rows], z)}
        terms = self.hiddens.apply_loss_transforms(outputs, data)
        return self.hiddens.joint_loss(tokens_loss, terms), terms, tokens_loss


def train(autoencoder, steps=400, lr=0.05):
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    torch.manual_seed(0)
    for _ in range(steps):
        loss, _, _ = autoencoder.losses(math.sqrt(MODEL.v) * torch.randn(256))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def evaluate(autoencoder):
    torch.manual_seed(1)
    with torch.no_grad():
        return autoencoder.losses(MODEL.balanced_x(50_000).float())


@pytest.fixture(scope="module")
def trained_vae():
    autoencoder = Autoencoder({"cls_name": "vae"})
    train(autoencoder)
    return autoencoder


def test_a_vae_reaches_the_entropy_of_x_within_two_percent(trained_vae):
    assert evaluate(trained_vae)[0].item() == pytest.approx(MODEL.entropy_x, rel=0.02)


@pytest.mark.parametrize(
    ("loss", "tokens_loss_weight"),
    [
        ({"cls_name": "vae", "estimator": "sampled"}, 1.0),
        ({"cls_name": "iwae", "num_samples": 4}, 0.0),
    ],
    ids=["vae sampled", "iwae"],
)
def test_so_do_estimates_by_draws(loss, tokens_loss_weight):
    autoencoder = Autoencoder(loss, tokens_loss_weight)
    train(autoencoder)
    assert evaluate(autoencoder)[0].item() == pytest.approx(MODEL.entropy_x, rel=0.02)


def test_a_trained_vae_finds_the_true_model_and_its_kl_the_information(trained_vae):
    autoencoder = trained_vae
    # The likelihood knows v = w² + s² only; encoder and decoder agree on the split that they found
    assert autoencoder.w.item() ** 2 + autoencoder.logvar.exp().item() == pytest.approx(MODEL.v, rel=0.03)
    found = LinearGaussian(autoencoder.w.item(), math.exp(0.5 * autoencoder.logvar.item()))
    assert evaluate(autoencoder)[1]["latent_kl"].item() == pytest.approx(found.information, abs=0.05)


def test_minimising_the_kl_of_the_pipeline_drives_it_to_zero():
    pipeline = HiddensPipeline({"q": {"cls_name": "cond_gaussian", "hidden_size": 4}}, {"kl": {"cls_name": "vae"}}, "z")
    torch.manual_seed(0)
    hiddens, optimizer = torch.randn(16, 2, 4), torch.optim.Adam(pipeline.parameters(), lr=0.05)
    values = []
    for _ in range(200):
        loss = pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms({"hiddens": hiddens}))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[0] > 0.1
    assert 0 <= values[-1] < 1e-3


@pytest.mark.parametrize(("min_kl_value", "reached"), [(2.0, 2.0), (0.5, 0.5), (None, 0.0)])
def test_free_bits_keep_the_kl_at_their_value(min_kl_value, reached):
    torch.manual_seed(0)
    mean, logvar = (3 * torch.randn(16, 1, 4)).requires_grad_(), torch.zeros(16, 1, 4, requires_grad=True)
    loss, optimizer = VAELoss(min_kl_value=min_kl_value), torch.optim.SGD([mean, logvar], lr=0.5)
    for _ in range(300):
        terms = loss({"z_mean": mean, "z_logvar": logvar, "z_mean_mask": torch.ones(16, 1)})
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    assert terms["loss"].item() == pytest.approx(reached, abs=0.01)
    assert terms["kl"].item() == pytest.approx(reached, abs=0.1)  # a step ends a little below the bound, and stays there


@pytest.mark.parametrize(("beta", "tokens_weight"), [(0.25, 1.0), (3.0, 1.0), (1.0, 0.5), (1.0, 0.0)])
def test_both_weights_are_honoured(beta, tokens_weight):
    autoencoder = Autoencoder({"cls_name": "vae", "loss_weight": beta}, tokens_weight)
    joint, terms, tokens_loss = autoencoder.losses(MODEL.draw_x(32).float())
    torch.testing.assert_close(joint, tokens_weight * tokens_loss + beta * terms["latent_loss"])


def test_a_large_beta_collapses_the_posterior_and_a_small_one_does_not():
    kls = []
    for beta in (10.0, 0.1):
        autoencoder = Autoencoder({"cls_name": "vae", "loss_weight": beta})
        train(autoencoder, steps=200)
        kls.append(evaluate(autoencoder)[1]["latent_kl"].item())
    assert kls[0] < 0.02
    assert kls[1] > 1.0


def test_a_mim_tells_more_about_x_than_a_vae(trained_vae):
    informations, mim = [], Autoencoder({"cls_name": "a_mim"})
    train(mim)
    for autoencoder in (trained_vae, mim):
        q = autoencoder.hiddens.transforms["q"]({"hiddens": MODEL.balanced_x(5000).float().view(-1, 1, 1)})
        signal = q["z_mean"].var() / q["z_logvar"].exp().mean()
        informations.append(0.5 * math.log1p(signal.item()))
    assert informations[1] > informations[0] + 0.3
