"""The damped EMA, held against the recurrence of the paper's equations in a plain loop of float64."""

import copy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkit.models.mega.ema import MultiHeadEMA


# Shapes: B batch, L positions, D channels, N hidden averages of a channel, T truncation.


def ema_of(
    bidirectional: bool = False, truncation: int | None = None, channels: int = 3, averages: int = 4, seed: int = 0
) -> MultiHeadEMA:
    """A small module with parameters of order one."""
    config = SimpleNamespace(
        hidden_size=channels,
        ema_projection_size=averages,
        bidirectional=bidirectional,
        truncation=truncation,
        ema_delta_alpha_range=0.2,
        ema_beta_range=0.02,
        ema_gamma_omega_range=1.0,
    )
    ema = MultiHeadEMA(config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in ema.parameters():
        parameter.data.normal_(generator=generator)
    return ema


def inputs(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def one_way(ema: MultiHeadEMA, x_BLD: Tensor, part: slice, state_BDN: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """y_t = γ · h_t / √N, h_t = p β x_t + (1 - p a) h_{t-1}, position by position; with truncation over a window's inputs."""
    p, a = ema.damping_factor[part, :, 0].double().sigmoid(), ema.decay_factor[part, :, 0].double().sigmoid()
    beta, gamma = ema.ema_expansion_matrix[part, :, 0].double(), ema.kernel_projection_matrix[part].double()
    scale = ema.projection_size**-0.5

    def run(xs_BLD: Tensor, h_BDN: Tensor) -> list[Tensor]:
        states = []
        for x_BD in xs_BLD.double().unbind(1):
            h_BDN = p * beta * x_BD.unsqueeze(-1) + (1 - p * a) * h_BDN
            states.append(h_BDN)
        return states

    zeros_BDN = torch.zeros(x_BLD.shape[0], *p.shape, dtype=torch.float64)
    if ema.truncation is None:
        states = run(x_BLD, zeros_BDN if state_BDN is None else state_BDN.double())
    else:
        windows = [x_BLD[:, max(0, t + 1 - ema.truncation) : t + 1] for t in range(x_BLD.shape[1])]
        states = [run(window, zeros_BDN)[-1] for window in windows]
    return torch.stack([(h_BDN * gamma).sum(-1) * scale for h_BDN in states], dim=1), states[-1]


def by_loop(
    ema: MultiHeadEMA, x_BLD: Tensor, mask_BL: Tensor | None = None, state_BDN: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What the module should give, in float64."""
    channels = ema.hidden_size
    masked_BLD = x_BLD if mask_BL is None else x_BLD * mask_BL.unsqueeze(-1)
    y_BLD, last_BDN = one_way(ema, masked_BLD, slice(0, channels), state_BDN)
    if ema.bidirectional:
        y_BLD = y_BLD + one_way(ema, masked_BLD.flip(1), slice(channels, None))[0].flip(1)
    return torch.nn.functional.silu(y_BLD + x_BLD.double() * ema.residual_weight.double()), last_BDN


BOTH = pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "bidirectional"])
LENGTHS = pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200])
TRUNCATIONS = pytest.mark.parametrize("truncation", [None, 1, 7, 500], ids=["whole", "one", "seven", "longer"])


@BOTH
@LENGTHS
@TRUNCATIONS
def test_results_are_those_of_the_recurrence(bidirectional: bool, length: int, truncation: int | None) -> None:
    ema, x_BLD = ema_of(bidirectional, truncation), inputs(2, length, 3)
    y_BLD, state = ema(x_BLD)
    torch.testing.assert_close(y_BLD.double(), by_loop(ema, x_BLD)[0], atol=3e-6, rtol=0)
    assert state is None


@BOTH
def test_padded_positions_add_nothing(bidirectional: bool) -> None:
    ema, x_BLD = ema_of(bidirectional), inputs(2, 70, 3)
    mask_BL = torch.rand(2, 70, generator=torch.Generator().manual_seed(3)) > 0.3
    y_BLD, _ = ema(x_BLD, mask_BL)
    torch.testing.assert_close(y_BLD.double(), by_loop(ema, x_BLD, mask_BL)[0], atol=3e-6, rtol=0)


def test_padding_may_hold_anything() -> None:
    ema, x_BLD, mask_BL = ema_of(True), inputs(1, 5, 3), torch.tensor([[True, True, True, False, False]])
    x_BLD[:, 3:] = torch.nan
    y_BLD, _ = ema(x_BLD, mask_BL)
    torch.testing.assert_close(y_BLD[:, :3], ema(x_BLD[:, :3])[0], atol=1e-6, rtol=0)


@LENGTHS
def test_the_state_is_the_last_hidden_average(length: int) -> None:
    ema, x_BLD, state_BDN = ema_of(), inputs(2, length, 3), inputs(2, 3, 4, seed=5)
    for given_BDN in (None, state_BDN):
        y_BLD, new_BDN = ema(x_BLD, None, given_BDN, return_state=True)
        expected_BLD, expected_BDN = by_loop(ema, x_BLD, None, given_BDN)
        torch.testing.assert_close(y_BLD.double(), expected_BLD, atol=3e-6, rtol=0)
        torch.testing.assert_close(new_BDN.double(), expected_BDN, atol=3e-6, rtol=0)


@pytest.mark.parametrize("split", [1, 3, 64, 149])
@TRUNCATIONS
def test_going_on_from_a_state_gives_what_one_call_gives(split: int, truncation: int | None) -> None:
    ema, x_BLD = ema_of(truncation=truncation), inputs(2, 150, 3)
    first_BLD, state = ema(x_BLD[:, :split], return_state=True)
    second_BLD, state = ema(x_BLD[:, split:], None, state, return_state=True)
    whole_BLD, whole_state = ema(x_BLD, return_state=True)
    torch.testing.assert_close(torch.cat([first_BLD, second_BLD], dim=1), whole_BLD, atol=3e-6, rtol=0)
    torch.testing.assert_close(state, whole_state, atol=3e-6, rtol=0)


@pytest.mark.parametrize(("truncation", "shape"), [(None, (2, 3, 4)), (7, (2, 6, 3)), (1, (2, 0, 3))])
def test_a_state_has_one_shape_whatever_the_length(truncation: int | None, shape: tuple[int, ...]) -> None:
    for length in (1, 4, 70):
        assert ema_of(truncation=truncation)(inputs(2, length, 3), return_state=True)[1].shape == shape


@BOTH
@TRUNCATIONS
@pytest.mark.parametrize("length", [1, 5, 130])
def test_gradients_are_those_of_the_recurrence(bidirectional: bool, length: int, truncation: int | None) -> None:
    ema = ema_of(bidirectional, truncation).double()
    x_BLD, direction_BLD = (
        inputs(2, length, 3, dtype=torch.float64).requires_grad_(),
        inputs(2, length, 3, seed=6, dtype=torch.float64),
    )
    mask_BL = torch.arange(length) != 2
    wanted = [x_BLD, *ema.parameters()]
    found = torch.autograd.grad(ema(x_BLD, mask_BL.expand(2, -1))[0], wanted, direction_BLD, materialize_grads=True)
    expected = torch.autograd.grad(by_loop(ema, x_BLD, mask_BL.expand(2, -1))[0], wanted, direction_BLD, materialize_grads=True)
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("length", [1, 70])
def test_gradients_pass_through_the_state(length: int) -> None:
    ema = ema_of().double()
    x_BLD = inputs(2, length, 3, dtype=torch.float64).requires_grad_()
    state_BDN = inputs(2, 3, 4, seed=5, dtype=torch.float64).requires_grad_()
    wanted = [x_BLD, state_BDN, *ema.parameters()]

    def slopes(y_BLD: Tensor, last_BDN: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(y_BLD.square().sum() + last_BDN.square().sum(), wanted)

    expected = slopes(*by_loop(ema, x_BLD, None, state_BDN))
    torch.testing.assert_close(slopes(*ema(x_BLD, None, state_BDN, return_state=True)), expected, atol=1e-11, rtol=1e-9)


def test_gradients_pass_through_the_state_alone() -> None:
    ema, x_BLD = ema_of().double(), inputs(2, 70, 3, dtype=torch.float64).requires_grad_()
    wanted = [x_BLD, ema.damping_factor, ema.decay_factor, ema.ema_expansion_matrix]
    found = torch.autograd.grad(ema(x_BLD, return_state=True)[1].square().sum(), wanted)
    expected = torch.autograd.grad(by_loop(ema, x_BLD)[1].square().sum(), wanted)
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(length=st.integers(2, 140), data=st.data(), truncation=st.sampled_from([None, 3, 90]))
def test_the_past_does_not_see_the_future(length: int, data: st.DataObject, truncation: int | None) -> None:
    cut = data.draw(st.integers(1, length - 1))
    ema, x_BLD = ema_of(truncation=truncation).double(), inputs(1, length, 3, dtype=torch.float64)
    changed_BLD = torch.cat([x_BLD[:, :cut], x_BLD[:, cut:] + 100], dim=1)
    torch.testing.assert_close(ema(changed_BLD)[0][:, :cut], ema(x_BLD)[0][:, :cut], atol=1e-11, rtol=0)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, 140), max_size=5), truncation=st.sampled_from([None, 1, 20]))
def test_any_split_gives_what_one_call_gives(cuts: list[int], truncation: int | None) -> None:
    ema, x_BLD = ema_of(truncation=truncation).double(), inputs(2, 141, 3, dtype=torch.float64)
    state, found = None, []
    for part_BLD in torch.tensor_split(x_BLD, sorted(set(cuts)), dim=1):
        y_BLD, state = ema(part_BLD, None, state, return_state=True)
        found.append(y_BLD)
    torch.testing.assert_close(torch.cat(found, dim=1), ema(x_BLD)[0], atol=1e-11, rtol=0)


@settings(deadline=None, max_examples=20)
@given(pads=st.integers(0, 80), length=st.integers(1, 80), bidirectional=st.booleans())
def test_padding_on_the_left_changes_nothing(pads: int, length: int, bidirectional: bool) -> None:
    ema, x_BLD = ema_of(bidirectional).double(), inputs(1, pads + length, 3, dtype=torch.float64)
    mask_BL = (torch.arange(pads + length) >= pads).unsqueeze(0)
    torch.testing.assert_close(ema(x_BLD, mask_BL)[0][:, pads:], ema(x_BLD[:, pads:])[0], atol=1e-11, rtol=0)


@BOTH
def test_slow_averages_keep_their_digits(bidirectional: bool) -> None:
    ema, x_BLD = ema_of(bidirectional), inputs(1, 3000, 3).abs()
    with torch.no_grad():
        ema.damping_factor.fill_(-6.0)
        ema.decay_factor.fill_(-8.0)  # p a = 8e-7, where 1 - p a has one digit in fp32
        ema.ema_expansion_matrix.abs_()
        expected_BLD, y_BLD = by_loop(ema, x_BLD)[0], ema(x_BLD)[0]
    torch.testing.assert_close(y_BLD.double(), expected_BLD, atol=expected_BLD.abs().max().item() * 2e-6, rtol=0)


@BOTH
@TRUNCATIONS
def test_bfloat16_keeps_coefficients_and_state_in_float32(bidirectional: bool, truncation: int | None) -> None:
    ema, x_BLD = ema_of(bidirectional, truncation), inputs(2, 70, 3).bfloat16()
    expected_BLD = by_loop(ema, x_BLD.float())[0]
    with torch.autocast("cpu", torch.bfloat16):
        y_BLD, _ = ema(x_BLD)
        state = None if bidirectional else ema(x_BLD, return_state=True)[1]
    assert y_BLD.dtype == torch.bfloat16
    assert state is None or state.dtype == torch.float32
    torch.testing.assert_close(y_BLD.double(), expected_BLD, atol=1e-6, rtol=2**-8)


def test_half_precision_models_keep_their_state_in_float32() -> None:
    y_BLD, state_BDN = ema_of().bfloat16()(inputs(2, 5, 3).bfloat16(), return_state=True)
    assert (y_BLD.dtype, state_BDN.dtype) == (torch.bfloat16, torch.float32)


@BOTH
def test_results_follow_the_parameters(bidirectional: bool) -> None:
    """Nothing is kept from one call to the next: neither a kernel nor a graph."""
    ema, other, x_BLD = ema_of(bidirectional).eval(), ema_of(bidirectional, seed=8).eval(), inputs(1, 9, 3)
    with torch.no_grad():
        ema(x_BLD)
    copied = copy.deepcopy(ema)
    copied.load_state_dict(other.state_dict())
    assert torch.equal(copied(x_BLD)[0], other(x_BLD)[0])
    ema(x_BLD)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in ema.parameters())


@BOTH
@pytest.mark.parametrize("truncation", [None, 4])
@pytest.mark.parametrize("length", [1, 130])
def test_shapes_are_known_on_the_meta_device(bidirectional: bool, truncation: int | None, length: int) -> None:
    ema = ema_of(bidirectional, truncation).to("meta")
    assert ema(torch.empty(2, length, 3, device="meta"))[0].shape == (2, length, 3)


@pytest.mark.parametrize(("bidirectional", "truncation"), [(False, None), (True, None), (False, 7)])
def test_compiled_averages_are_the_same_in_one_graph(bidirectional: bool, truncation: int | None) -> None:
    ema, mask_BL = ema_of(bidirectional, truncation).double(), torch.rand(2, 70, generator=torch.Generator().manual_seed(3)) > 0.3
    torch._dynamo.reset()
    compiled = torch.compile(ema, fullgraph=True, backend="eager")
    for length in (70, 45):  # the second length makes it dynamic
        x_BLD = inputs(2, length, 3, dtype=torch.float64).requires_grad_()
        wanted = [x_BLD, *ema.parameters()]
        y_BLD, expected_BLD = compiled(x_BLD, mask_BL[:, :length])[0], ema(x_BLD, mask_BL[:, :length])[0]
        torch.testing.assert_close(y_BLD, expected_BLD)
        slopes = [torch.autograd.grad(values_BLD.square().sum(), wanted) for values_BLD in (y_BLD, expected_BLD)]
        torch.testing.assert_close(*slopes)


def test_bidirectional_averages_have_no_state() -> None:
    with pytest.raises(ValueError, match="bidirectional=False"):
        ema_of(True)(inputs(1, 4, 3), return_state=True)


def test_initial_values_are_those_of_the_authors() -> None:
    torch.manual_seed(0)
    config = SimpleNamespace(
        hidden_size=300,
        ema_projection_size=16,
        bidirectional=True,
        truncation=None,
        ema_delta_alpha_range=0.2,
        ema_beta_range=0.02,
        ema_gamma_omega_range=1.0,
    )
    ema = MultiHeadEMA(config)
    beta_KN = ema.ema_expansion_matrix.squeeze(-1)
    signs_N = torch.tensor([1.0, -1.0] * 8)
    for values, deviation in (
        (ema.damping_factor, 0.2),
        (ema.decay_factor, 0.2),
        (beta_KN - signs_N, 0.02),
        (ema.kernel_projection_matrix, 1.0),
        (ema.residual_weight, 1.0),
    ):
        assert values.mean().abs() < 0.2 * deviation
        assert abs(values.std() / deviation - 1) < 0.15
