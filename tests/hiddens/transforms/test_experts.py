import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mmkit.hiddens import HiddensError, HiddensPipeline
from mmkit.hiddens.gaussian import kl_from_prior, log_density, prior_log_density
from mmkit.hiddens.transforms import MixtureOfExperts, ProductOfExperts
from mmkit.hiddens.transforms.experts import without_some


SIZES = {"rgb": 6, "text": 8}
JOINT = pytest.mark.parametrize("joint", [ProductOfExperts, MixtureOfExperts])


def inputs(there=((1, 1), (1, 0), (0, 1), (0, 0)), positions=None):
    """Hidden states of four examples, of which some lack a modality."""
    generator = torch.Generator().manual_seed(0)
    named = {}
    for index, (name, size) in enumerate(SIZES.items()):
        length = positions or 3 + index
        mask = torch.tensor([row[index] for row in there])[:, None].expand(-1, length).float()
        x = torch.randn(len(there), length, size, generator=generator, dtype=torch.float64)
        named |= {f"{name}.hiddens": x * mask.unsqueeze(-1), f"{name}.hiddens_mask": mask}
    return named


def expert(transform, name, named):
    """Mean and log-variance (B, Z) of one modality's expert."""
    mean, logvar = transform.experts.heads[name](named[f"{name}.hiddens"].mean(1))
    return mean, logvar


def test_product_adds_precisions_of_the_modalities_that_are_there():
    transform, named = ProductOfExperts(SIZES, 4).double(), inputs()
    outputs = transform(named)
    for row, there in enumerate([("rgb", "text"), ("rgb",), ("text",), ()]):
        experts = [expert(transform, name, named) for name in there]
        precision = 1 + sum(1 / logvar[row].exp() for _, logvar in experts)
        mean = sum(mean[row] / logvar[row].exp() for mean, logvar in experts) / precision
        torch.testing.assert_close(outputs["z_mean"][row, 0], mean * torch.ones(4).double())
        torch.testing.assert_close(outputs["z_logvar"][row, 0], -torch.log(precision * torch.ones(4).double()))


def test_product_has_the_density_of_its_draw():
    outputs = ProductOfExperts(SIZES, 4).double()(inputs())
    oracle = Normal(outputs["z_mean"], torch.exp(0.5 * outputs["z_logvar"])).log_prob(outputs["z"]).sum(-1)
    torch.testing.assert_close(outputs["z_log_prob"], oracle)


def mixture_of(transform, named, row, there):
    means, logvars = zip(*[expert(transform, name, named) for name in there], strict=True)
    mean_EZ, logvar_EZ = torch.stack([mean[row] for mean in means]), torch.stack([logvar[row] for logvar in logvars])
    components = Independent(Normal(mean_EZ, torch.exp(0.5 * logvar_EZ)), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(there)).double()), components)


def test_mixture_has_density_and_mean_of_the_modalities_that_are_there():
    transform, named = MixtureOfExperts(SIZES, 4).double(), inputs()
    outputs = transform(named)
    for row, there in enumerate([("rgb", "text"), ("rgb",), ("text",)]):
        oracle = mixture_of(transform, named, row, there)
        torch.testing.assert_close(outputs["z_log_prob"][row, 0], oracle.log_prob(outputs["z"][row, 0]))
        torch.testing.assert_close(outputs["z_mean"][row, 0], oracle.mean)


def test_mixture_of_nothing_is_the_prior():
    outputs = MixtureOfExperts(SIZES, 4).double()(inputs())
    torch.testing.assert_close(outputs["z_log_prob"][3], prior_log_density(outputs["z"][3]).sum(-1))
    assert outputs["z_kl_bound"][3] == 0
    assert not outputs["z_mean"][3].any()


def test_mixture_draws_from_every_expert_equally_often():
    transform = MixtureOfExperts(SIZES, 1, min_logvar=None).double()
    with torch.no_grad():
        for head, mean in zip(transform.experts.heads.values(), [-5.0, 5.0], strict=True):
            head.proj.weight.zero_()
            head.proj.bias.copy_(torch.tensor([mean, -2.0]))
    torch.manual_seed(0)
    z = transform(inputs(there=((1, 1),) * 4000))["z"].flatten()
    assert (z > 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    torch.testing.assert_close(z[z > 0].std(), torch.tensor(torch.e**-1).double(), rtol=0.05, atol=0)


def test_kl_bound_is_above_the_kl_of_the_mixture_and_tight_for_one_modality():
    transform = MixtureOfExperts(SIZES, 2).double()
    named = inputs(there=((1, 1),) * 4000)
    for name in SIZES:
        named[f"{name}.hiddens"] = named[f"{name}.hiddens"][:1].expand(4000, -1, -1)
    torch.manual_seed(0)
    outputs = transform(named)
    kl = (outputs["z_log_prob"] - prior_log_density(outputs["z"]).sum(-1)).mean()
    assert 0 < kl < outputs["z_kl_bound"][0, 0]
    alone = transform(inputs(there=((1, 0),)))
    mean, logvar = expert(transform, "rgb", inputs(there=((1, 0),)))
    torch.testing.assert_close(alone["z_kl_bound"][0, 0], kl_from_prior(mean, logvar).sum())


@JOINT
def test_a_missing_modality_gets_no_gradient_and_changes_nothing(joint):
    transform = joint(SIZES, 4).double()
    named = inputs(there=((1, 0), (1, 0)))
    torch.manual_seed(0)
    outputs = transform(named)
    outputs["z_log_prob"].sum().backward()
    assert not transform.experts.heads["text"].proj.weight.grad.any()
    assert transform.experts.heads["rgb"].proj.weight.grad.any()
    named["text.hiddens"] = named["text.hiddens"] + 100
    torch.manual_seed(0)
    torch.testing.assert_close(transform(named), outputs)


@JOINT
def test_padding_and_order_of_rows_change_nothing_in_evaluation(joint):
    transform, named = joint(SIZES, 4).double().eval(), inputs()
    outputs = transform(named)
    assert torch.equal(outputs["z"], outputs["z_mean"])
    longer = dict(named)
    longer["text.hiddens"] = torch.cat([named["text.hiddens"], torch.ones(4, 2, 8).double()], 1)
    longer["text.hiddens_mask"] = torch.cat([named["text.hiddens_mask"], torch.zeros(4, 2)], 1)
    torch.testing.assert_close(transform(longer), outputs)
    flipped = transform({name: tensor.flip(0) for name, tensor in named.items()})
    torch.testing.assert_close(flipped, {name: tensor.flip(0) for name, tensor in outputs.items()})


@JOINT
def test_experts_meet_position_by_position(joint):
    transform, named = joint(SIZES, 4, num_positions=3).double().eval(), inputs(positions=3)
    outputs = transform(named)
    assert outputs["z"].shape == (4, 3, 4)
    first = {name: tensor[:, :1].expand_as(tensor) for name, tensor in named.items()}
    torch.testing.assert_close(transform(first)["z_mean"][:, 2], outputs["z_mean"][:, 0])


def test_another_number_of_positions_is_refused():
    with pytest.raises(ValueError, match=r"rgb\.hiddens have 3 positions, but num_positions=5"):
        ProductOfExperts(SIZES, 4, num_positions=5).double()(inputs())


def test_experts_need_a_modality():
    with pytest.raises(HiddensError, match="at least one modality"):
        ProductOfExperts({}, 4)


@pytest.mark.parametrize("cls_name", ["product_of_experts", "mixture_of_experts"])
def test_a_pipeline_gives_joint_latents_of_real_positions(cls_name):
    given = tuple(inputs())
    pipeline = HiddensPipeline(
        transform={"q": {"cls_name": cls_name, "hidden_sizes": SIZES, "latent_size": 4}}, enc_output_name="z", available=given
    ).double()
    outputs = pipeline.apply_hidden_transforms({"hiddens": torch.zeros(4, 7, 8).double(), **inputs()})
    assert outputs["enc_output"].shape == (4, 1, 4)
    assert outputs["enc_output_mask"].all()
    assert pipeline.prior_shape() == (1, 4)


def test_product_of_equal_experts_is_more_certain_than_each():
    transform, named = ProductOfExperts({"a": 4, "b": 4}, 2), {}
    transform.experts.heads["b"] = transform.experts.heads["a"]
    x = torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(0))
    for name in ("a", "b"):
        named |= {f"{name}.hiddens": x, f"{name}.hiddens_mask": torch.ones(1, 1)}
    both, one = transform(named), transform({**named, "b.hiddens_mask": torch.zeros(1, 1)})
    assert (both["z_logvar"] < one["z_logvar"]).all()


@JOINT
def test_experts_work_on_the_meta_device(joint):
    with torch.device("meta"):
        transform = joint(SIZES, 4)
    outputs = transform({name: torch.empty_like(tensor, device="meta") for name, tensor in inputs().items()})
    assert outputs["z"].shape == (4, 1, 4)
    assert outputs["z"].device.type == "meta"


def test_modalities_are_left_out_as_often_as_asked_but_one_always_stays():
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1], [1, 0], [0, 0]]).bool().repeat(1, 2000).unsqueeze(-1)  # of both, of the first only, …
    kept = without_some(mask, 0.3)
    assert not (kept & ~mask).any()
    assert kept[:, ::2].any(0).all()
    assert kept[0, 1::2].all()
    # of two, one is left out unless both stay: both are drawn to go with 0.09, and then one stays
    assert (~kept[:2, ::2]).double().sum(0).mean().item() == pytest.approx(1 - 0.7**2, abs=0.03)


def test_a_product_leaves_modalities_out_in_training_only():
    transform, named = ProductOfExperts(SIZES, 4, drop_modality=0.5).double(), inputs(there=((1, 1),) * 50)
    whole = transform.eval()(named)["z_logvar"]
    torch.manual_seed(0)
    is_whole = (transform.train()(named)["z_logvar"] == whole).all(-1)
    assert 5 < is_whole.sum() < 45
    transform.drop_modality = 0.0
    torch.testing.assert_close(transform(named)["z_logvar"], whole)


def test_a_probability_of_one_is_refused():
    with pytest.raises(HiddensError, match=r"drop_modality=1\.0 is a probability"):
        ProductOfExperts(SIZES, 4, drop_modality=1.0)


def test_a_sampled_kl_of_a_product_agrees_with_its_closed_form():
    transform = ProductOfExperts(SIZES, 2).double()
    named = {name: tensor[:1].expand(4000, *tensor.shape[1:]) for name, tensor in inputs().items()}
    torch.manual_seed(0)
    outputs = transform(named)
    sampled = (log_density(outputs["z"], outputs["z_mean"], outputs["z_logvar"]) - prior_log_density(outputs["z"])).sum(-1)
    exact = kl_from_prior(outputs["z_mean"], outputs["z_logvar"]).sum(-1)[0, 0]
    assert sampled.mean().item() == pytest.approx(exact.item(), abs=0.1)
