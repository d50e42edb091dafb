"""What all losses on a posterior promise, and the options of a_mim and vae."""

import pytest
import torch

from mmkit.hiddens import HiddensError, HiddensPipeline
from mmkit.hiddens.gaussian import kl_from_prior, log_density, sample
from mmkit.hiddens.losses import AMIMLoss, IWAELoss, VAELoss
from tests.hiddens.linear_gaussian import LinearGaussian


def posterior(lengths=(3, 1, 2), size=4, dtype=torch.float64):
    """Posteriors of rows with so many real positions."""
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(2, len(lengths), max(lengths), size, generator=generator, dtype=torch.float64).to(dtype)
    z = sample(mean, logvar, generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    named = {"z": z, "z_mean": mean, "z_logvar": logvar, "z_log_prob": log_density(z, mean, logvar).sum(-1)}
    return {**named, "z_mask": mask, "z_mean_mask": mask, "z_kl_bound": named["z_log_prob"], "z_kl_bound_mask": mask}


def duplicated(named):
    return {name: torch.cat([tensor, tensor]) for name, tensor in named.items()}


def padded(named):
    """Two more positions, with nonsense in them and 0 in the mask."""

    def longer(name, tensor):
        tail = torch.full((len(tensor), 2, *tensor.shape[2:]), 0 if "mask" in name else 99, dtype=tensor.dtype)
        return torch.cat([tensor, tail], 1)

    return {name: longer(name, tensor) for name, tensor in named.items()}


def permuted(named):
    return {name: tensor[torch.tensor([2, 0, 1])] for name, tensor in named.items()}


def with_an_empty_row(named):
    return {name: torch.cat([tensor, torch.zeros_like(tensor[:1])]) for name, tensor in named.items()}


LOSSES = [
    VAELoss(),
    VAELoss(min_kl_value=3.0),
    VAELoss(min_kl_value=0.5, free_bits_unit="dimension"),
    VAELoss(estimator="sampled", position_reduction="sum"),
    VAELoss(estimator="bound"),
    AMIMLoss(),
    AMIMLoss(estimator="sampled", position_reduction="sum"),
]
ALL = pytest.mark.parametrize("loss", LOSSES, ids=range(len(LOSSES)))


@ALL
@pytest.mark.parametrize("change", [duplicated, padded, permuted, with_an_empty_row])
def test_duplicating_padding_and_permuting_change_no_loss(loss, change):
    named = posterior()
    torch.testing.assert_close(loss(change(named)), loss(named), rtol=1e-12, atol=1e-12)


@ALL
def test_terms_are_scalars_of_the_declared_names(loss):
    terms = loss(posterior())
    assert tuple(terms) == loss.term_names
    assert {tensor.dim() for tensor in terms.values()} == {0}


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_comes_out_in_single_precision(loss, dtype):
    named = posterior()
    exact = loss(named)["loss"]
    value = loss({name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in named.items()})["loss"]
    if loss.estimator != "bound":
        assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=0.02 if dtype == torch.bfloat16 else 1e-5, atol=0)


@ALL
def test_losses_work_on_the_meta_device(loss):
    terms = loss({name: tensor.to("meta") for name, tensor in posterior().items()})
    assert {tensor.device.type for tensor in terms.values()} == {"meta"}


def test_positions_are_averaged_or_summed():
    named = posterior(lengths=(2, 2))
    mean, total = VAELoss()(named)["loss"], VAELoss(position_reduction="sum")(named)["loss"]
    torch.testing.assert_close(total, 2 * mean)


def test_the_batch_is_averaged_not_summed():
    named = posterior(lengths=(1, 1, 1))
    rows = [VAELoss()({name: tensor[row : row + 1] for name, tensor in named.items()})["loss"] for row in range(3)]
    torch.testing.assert_close(VAELoss()(named)["loss"], sum(rows) / 3)


# Free bits


def narrow(scale):
    """A posterior near the prior, and its leaves."""
    mean = (scale * torch.randn(6, 1, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    logvar = torch.zeros(6, 1, 4, requires_grad=True)
    return {"z_mean": mean, "z_logvar": logvar, "z_mean_mask": torch.ones(6, 1)}


@pytest.mark.parametrize(("unit", "floor"), [("example", 1.0), ("dimension", 4.0)])
def test_free_bits_have_no_gradient_below_the_bound(unit, floor):
    named = narrow(0.1)
    terms = VAELoss(min_kl_value=1.0, free_bits_unit=unit)(named)
    assert terms["loss"] == floor
    assert 0 < terms["kl"] < 1
    terms["loss"].backward()
    assert not named["z_mean"].grad.any()
    assert not named["z_logvar"].grad.any()


@pytest.mark.parametrize("unit", ["example", "dimension"])
def test_free_bits_change_nothing_above_the_bound(unit):
    named = narrow(10.0)
    terms = VAELoss(min_kl_value=0.1, free_bits_unit=unit)(named)
    torch.testing.assert_close(terms["loss"], terms["kl"])
    (gradient,) = torch.autograd.grad(terms["loss"], named["z_mean"])
    torch.testing.assert_close(gradient, named["z_mean"].detach() / 6)


def test_free_bits_of_examples_are_those_of_a_loop():
    named = posterior()
    kl = kl_from_prior(named["z_mean"], named["z_logvar"]).sum(-1)
    rows = [max(3.0, kl[row, :length].mean().item()) for row, length in enumerate((3, 1, 2))]
    assert VAELoss(min_kl_value=3.0)(named)["loss"].item() == pytest.approx(sum(rows) / 3, rel=1e-12)


def test_free_bits_of_dimensions_are_those_of_a_loop():
    named = posterior()
    kl = kl_from_prior(named["z_mean"], named["z_logvar"])
    means = torch.stack([kl[row, :length].mean(0) for row, length in enumerate((3, 1, 2))]).mean(0)
    expected = sum(max(0.6, value) for value in means.tolist())
    loss = VAELoss(min_kl_value=0.6, free_bits_unit="dimension")
    assert loss(named)["loss"].item() == pytest.approx(expected, rel=1e-12)


# Mistakes


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (VAELoss, {"estimator": "exact"}, "Unknown estimator 'exact'. Allowed: closed_form, sampled, bound"),
        (AMIMLoss, {"estimator": "bound"}, "Unknown estimator 'bound'. Allowed: closed_form, sampled"),
        (VAELoss, {"min_kl_value": -1.0}, "min_kl_value=-1.0 must not be negative"),
        (VAELoss, {"free_bits_unit": "batch"}, "Unknown free_bits_unit 'batch'. Allowed: example, dimension"),
        (VAELoss, {"free_bits_unit": "dimension", "estimator": "sampled"}, "has only their sum"),
        (AMIMLoss, {"position_reduction": "max"}, "Unknown position_reduction 'max'. Allowed: mean, sum"),
        (IWAELoss, {"num_samples": 0}, "num_samples=0 must be at least 1"),
    ],
)
def test_wrong_options_are_refused(cls, arguments, message):
    with pytest.raises(HiddensError) as error:
        cls(**arguments)
    assert message in str(error.value)


MIXTURE = {"q": {"cls_name": "mixture_of_experts", "hidden_sizes": {"text": 4}, "latent_size": 2}}
GIVEN = ("text.hiddens", "text.hiddens_mask")


@pytest.mark.parametrize("cls_name", ["vae", "a_mim"])
def test_a_mixture_has_no_closed_form(cls_name):
    with pytest.raises(HiddensError, match=r"z_logvar(.|\n)*set estimator: sampled"):
        HiddensPipeline(MIXTURE, {"latent": {"cls_name": cls_name}}, "z", available=GIVEN)


@pytest.mark.parametrize(("cls_name", "estimator"), [("vae", "sampled"), ("a_mim", "sampled"), ("vae", "bound")])
def test_a_mixture_has_sampled_losses_and_a_bound(cls_name, estimator):
    pipeline = HiddensPipeline(MIXTURE, {"latent": {"cls_name": cls_name, "estimator": estimator}}, "z", available=GIVEN)
    hiddens, mask = torch.randn(2, 3, 4), torch.ones(2, 3)
    given = {"hiddens": hiddens, "hiddens_mask": mask, "text.hiddens": hiddens, "text.hiddens_mask": mask}
    pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms(given))["loss"].backward()
    assert pipeline.transforms["q"].experts.heads["text"].proj.weight.grad.any()


# IWAE


def test_iwae_needs_the_models_likelihood():
    with pytest.raises(ValueError, match=r"iwae needs batch_data\['log_likelihood'\]"):
        IWAELoss()(posterior(), {})


@pytest.mark.parametrize("change", [duplicated, padded, with_an_empty_row])
def test_iwae_is_a_mean_over_the_batch_and_blind_to_padding(change):
    model = LinearGaussian(1.0, 0.5)
    x = model.draw_x(6)
    named = model.posterior(x)
    changed = change(named)
    more_x = torch.cat([x, x])[: len(changed["z"])]
    terms = IWAELoss(num_samples=3)(changed, model.batch_data(more_x))
    assert -terms["loss"].item() == pytest.approx(model.log_p_x(x).mean().item(), rel=1e-9)


def test_iwae_hands_every_row_its_own_samples():
    seen = {}

    def log_likelihood(z_NSZ, rows_N):
        seen.update(z=z_NSZ, rows=rows_N)
        return 10.0 * rows_N.double()

    named = {"z_mean": torch.arange(3.0).view(3, 1, 1), "z_logvar": torch.full((3, 1, 1), -40.0), "z_mean_mask": torch.ones(3, 1)}
    IWAELoss(num_samples=2)(named, {"log_likelihood": log_likelihood})
    assert seen["rows"].tolist() == [0, 1, 2, 0, 1, 2]
    torch.testing.assert_close(seen["z"].flatten(), seen["rows"].float(), atol=1e-6, rtol=0)


def test_iwae_has_gradients_in_posterior_and_decoder():
    weight = torch.tensor(1.0, requires_grad=True)
    mean, logvar = torch.zeros(3, 2, 4, requires_grad=True), torch.zeros(3, 2, 4, requires_grad=True)
    data = {"log_likelihood": lambda z, rows: -(weight * z - 1).square().sum((1, 2))}
    named = {"z_mean": mean, "z_logvar": logvar, "z_mean_mask": torch.ones(3, 2)}
    IWAELoss(num_samples=4)(named, data)["loss"].backward()
    for tensor in (weight, mean, logvar):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()
