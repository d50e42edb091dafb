import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mmkit.modules.metrics import LatentDiagnostics


def posteriors(lengths=(3, 1, 2, 3, 2), size=4):
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(2, len(lengths), max(lengths), size, generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return mean, logvar, mask.long()


def computed(*batches, **arguments):
    diagnostics = LatentDiagnostics(4, **arguments)
    for batch in batches:
        diagnostics.update(*batch)
    return {name: value.item() for name, value in diagnostics.compute().items()}


def test_kl_is_that_of_torch_distributions_per_example_and_per_position():
    mean, logvar, mask = posteriors()
    oracle = kl_divergence(Normal(mean.double(), torch.exp(0.5 * logvar.double())), Normal(torch.zeros(()).double(), 1.0)).sum(-1)
    values = computed((mean, logvar, mask))
    assert values["kl"] == pytest.approx((oracle * mask).sum().item() / 5, rel=1e-12)
    assert values["kl_per_position"] == pytest.approx(oracle[mask.bool()].mean().item(), rel=1e-12)


def test_active_units_are_those_whose_mean_varies_over_examples():
    mean = torch.zeros(50, 2, 4)
    mean[:, 0, 0] = torch.linspace(-1, 1, 50)  # varies
    mean[:, 0, 1] = 7.0  # constant
    mean[:, 1, 2] = torch.linspace(-0.1, 0.1, 50)  # variance 0.0035
    mean[:, 1, 3] = torch.linspace(-0.2, 0.2, 50)  # variance 0.0139
    values = computed((mean, torch.zeros_like(mean)), num_positions=2)
    assert values["active_units"] == 2
    assert values["active_fraction"] == 2 / 8
    assert computed((mean, torch.zeros_like(mean)), num_positions=2, threshold=0.003)["active_units"] == 3


def test_variance_of_means_is_numpys():
    mean, logvar, _ = posteriors()
    variances = mean.double().numpy().var(0, ddof=1)
    for threshold in (0.3, 0.7, 1.2):
        expected = (variances > threshold).sum()
        assert computed((mean, logvar), num_positions=3, threshold=threshold)["active_units"] == expected


def test_real_positions_are_the_population_where_their_number_varies():
    mean, logvar, mask = posteriors()
    variances = mean[mask.bool()].double().numpy().var(0, ddof=1)
    for threshold in (0.5, 0.9, 1.2):
        assert computed((mean, logvar, mask), threshold=threshold)["active_units"] == (variances > threshold).sum()


def test_a_large_common_mean_hides_no_variance():
    mean = 1000.0 + torch.linspace(-0.25, 0.25, 400).view(-1, 1, 1).expand(-1, 1, 4)
    assert computed((mean, torch.zeros_like(mean)), num_positions=1)["active_units"] == 4
    assert computed((mean, torch.zeros_like(mean)), num_positions=1, threshold=0.03)["active_units"] == 0


def test_log_variances_at_their_bounds_are_counted_at_real_positions():
    logvar = torch.tensor([[[-6.0, -5.95, -5.8, 0.0], [2.0, 1.95, 0.0, 0.0], [-6.0, -6.0, -6.0, -6.0]]])
    values = computed((torch.zeros_like(logvar), logvar, torch.tensor([[1, 1, 0]])), min_logvar=-6.0, max_logvar=2.0)
    assert values["logvar_at_lower"] == 2 / 8
    assert values["logvar_at_upper"] == 2 / 8


def test_bounds_that_are_not_given_are_not_reported():
    assert not {"logvar_at_lower", "logvar_at_upper"} & set(computed(posteriors()))


@pytest.mark.parametrize("num_positions", [None, 3])
def test_batches_and_padding_change_nothing(num_positions):
    mean, logvar, mask = posteriors()
    mean, logvar = mean * mask.unsqueeze(-1) + 99 * (1 - mask).unsqueeze(-1), logvar
    whole = computed((mean, logvar, mask), num_positions=num_positions, min_logvar=-1.0)
    parts = computed(
        *[(mean[i : i + 2], logvar[i : i + 2], mask[i : i + 2]) for i in (0, 2, 4)], num_positions=num_positions, min_logvar=-1.0
    )
    assert parts == pytest.approx(whole, rel=1e-12)


def test_two_ranks_together_compute_what_one_does():
    mean, logvar, mask = posteriors()
    arguments = {"num_positions": 3, "min_logvar": -1.0}
    there = LatentDiagnostics(4, **arguments)
    there.update(mean[2:], logvar[2:], mask[2:])
    states = iter(there.metric_state.values())
    ranks = {"dist_sync_fn": lambda state, group: [state, next(states)], "distributed_available_fn": lambda: True}
    here = LatentDiagnostics(4, **arguments, **ranks)
    here.update(mean[:2], logvar[:2], mask[:2])
    values = {name: value.item() for name, value in here.compute().items()}
    assert values == pytest.approx(computed((mean, logvar, mask), **arguments), rel=1e-12)


def test_half_precision_of_the_task_keeps_sums_exact():
    mean, logvar, mask = posteriors()
    diagnostics = LatentDiagnostics(4).to(torch.bfloat16)
    diagnostics.set_dtype(torch.bfloat16)
    diagnostics.update(mean, logvar, mask)
    assert diagnostics.compute()["kl"].item() == pytest.approx(computed((mean, logvar, mask))["kl"], rel=1e-12)


def test_nothing_is_reported_without_examples():
    mean, logvar, mask = posteriors()
    assert computed((mean, logvar, 0 * mask)) == {}


def test_a_reset_forgets_everything():
    diagnostics = LatentDiagnostics(4)
    diagnostics.update(*posteriors())
    diagnostics.reset()
    mean, logvar, mask = posteriors(lengths=(2, 1))
    diagnostics.update(mean, logvar, mask)
    assert {name: value.item() for name, value in diagnostics.compute().items()} == computed((mean, logvar, mask))


def test_other_numbers_of_positions_are_refused():
    with pytest.raises(ValueError, match="The batch has 3 positions, but num_positions=2"):
        LatentDiagnostics(4, num_positions=2).update(*posteriors())


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="latent_size=0 and num_positions=None must be at least 1"):
        LatentDiagnostics(0)
